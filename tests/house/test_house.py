"""The house itself: layers, one root, documents that mention only what exists."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
PACKAGES = (
    "core", "models", "inference", "preprocessing", "training", "evaluation", "flows", "infra",
)  # fmt: skip
DOCUMENTS = sorted([*REPO.glob("*.md"), *REPO.glob("docs/**/*.md"), *REPO.glob("models/*/*.md")])


@pytest.mark.parametrize("name", PACKAGES)
def test_packages_come_from_this_checkout(name):
    found = Path(importlib.import_module(name).__file__).resolve()
    assert found.is_relative_to(REPO), f"{name} is imported from {found}"


def test_every_tests_folder_is_a_package():
    for folder in (REPO / "tests").rglob("test_*.py"):
        assert (folder.parent / "__init__.py").exists(), folder.parent


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(REPO)))
def test_documents_mention_only_what_exists(document):
    text = document.read_text()
    tops = (*PACKAGES, "tests", "docs", "bench", "checkpoints")
    for path in re.findall(rf"`((?:{'|'.join(tops)})/[\w/.-]+)`", text):
        assert (REPO / path).exists() or list(REPO.glob(path)), f"{document.name}: {path}"
    for dotted in re.findall(rf"`((?:{'|'.join(PACKAGES)})\.[\w.]+:\w+)`", text):
        module, _, name = dotted.partition(":")
        assert hasattr(importlib.import_module(module), name), f"{document.name}: {dotted}"
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_sync_loads_no_engine():
    code = (
        "import sys, flows.cli, flows.work, inference.sync, inference.load;"
        "import models.flashlips.predictor;"
        "bad = {'ray', 'prefect', 'mlflow'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPO)


def test_no_absolute_paths_of_a_machine():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", "*.py", "*.md", "*.toml", "*.txt", "*.json"],
        cwd=REPO, capture_output=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        text = (REPO / name).read_text()
        assert not re.search(r"(?<![\w.])/(?:home|root|work|Users)/", text), name
