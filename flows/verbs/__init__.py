"""The command line's verbs: a module for each part of the way, ``VERBS`` what it adds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TypeAlias

from core.storage import Place

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def places(texts: Sequence[str]) -> tuple[Place, ...]:
    """Folders and ``s3://`` prefixes."""
    from infra.settings import settings

    return tuple(settings().place(text) for text in texts)
