"""The shipped checkpoint, from nothing but a seed: ``make nano``."""

from __future__ import annotations

import shutil
from pathlib import Path

from flows.console import Console
from flows.recipes import nano
from flows.work import preprocess_clips, train_chain
from infra.settings import settings


def nano_shards(console: Console | None = None) -> Path:
    """The whole synthetic corpus as shards; made when missing."""
    from preprocessing.datasets.synthetic import render_corpus

    job, console, runs = nano(), console or Console(), settings().runs
    corpus = runs / "corpus" / job.corpus
    render_corpus(
        corpus, settings().store(), job.identities, job.seconds, job.clips, job.seed,
        workers=settings().threads, progress=console.counter("corpus"),
    )  # fmt: skip
    shards = runs / job.name / "shards"
    preprocess_clips("synthetic", corpus, shards, job.preprocessing, engine="ray", console=console)
    return shards


def train_nano(out: Path) -> Path:
    """Renders the corpus, shards it, trains all stages, and puts weights and cards into ``out``."""
    job, console = nano(), Console()
    shards, system = nano_shards(console), settings().runs / job.name / "system"
    made = train_chain(job.with_speakers_held_out(), shards, system, console=console)
    for stage, card in made.items():
        target = out / stage
        target.mkdir(parents=True, exist_ok=True)
        for name in ("weights.safetensors", "card.json"):
            shutil.copyfile(Path(card.uri) / name, target / name)
    return out
