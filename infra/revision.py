"""Which code runs: the checkout's commit, or what the settings name where there is no checkout."""

from __future__ import annotations

import subprocess

from infra.settings import REPO, settings


def git_commit() -> str:
    """The checkout's commit, with ``+`` when files differ from it.

    A job on a cluster and an image are no checkouts: there the settings name it, or "" does.
    """

    def git(*words: str) -> str:
        command = ["git", "-C", str(REPO), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return settings().commit
