"""Samples that exist as the start of a chain, and what of the result a sidecar keeps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.clip import Clip
from core.sample import FPS, SAMPLE_RATE, SEGMENT_S
from core.shards import ByKey, read_manifest, read_samples
from core.storage import Place
from preprocessing.steps.read import AROUND_S, GRID_S
from preprocessing.steps.speech import FRAME

KEPT = "kept_"
"""A field of the shards under another name, for a step that makes this field anew."""
MADE = {"sound_around": "sound"}
"""Fields that are not in shards but can be made from ones that are."""


@dataclass(frozen=True)
class Stored:
    """Gives clips the fields of the samples that their ids name.

    Attributes:
        shards: one set and its sidecars.
        fields: what to add: a field's name, ``kept_`` and a field's name, ``kept_origin`` (the
            manifest's), or ``sound_around`` (put together from neighbouring segments).
    """

    shards: tuple[Place, ...]
    fields: tuple[str, ...]
    _open: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    name = "stored"
    needs = frozenset[str]()

    @property
    def adds(self) -> frozenset[str]:
        """The fields, and the sample's ``info`` as ``kept_info``."""
        return frozenset({*self.fields, "kept_info"})

    def setup(self) -> None:
        """Looks into the manifests; reads all infos when sound is to be put together."""
        samples = ByKey(self.shards)
        opened: dict[str, Any] = {"samples": samples, "origin": read_manifest(self.shards).origin}
        if "sound_around" in self.fields:
            clips: dict[str, list[tuple[int, str]]] = {}
            opened["clips"] = clips
            for sample in read_samples(self.shards, ()):
                info = sample["info"]
                part = (int(info["first_frame"]), sample["key"])
                clips.setdefault(str(info["clip"]), []).append(part)
        object.__setattr__(self, "_open", opened)

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Reads; 1:1."""
        for clip in clips:
            plain = [name.removeprefix(KEPT) for name in self.fields if name not in MADE]
            sample = self._open["samples"].read(clip.id, plain)
            info = sample["info"]
            found: dict[str, Any] = {"kept_info": info}
            for name in self.fields:
                if name == "sound_around":
                    found[name] = self._sound(info)
                elif name == "kept_origin":
                    found[name] = self._open["origin"]
                else:
                    found[name] = sample[name.removeprefix(KEPT)]
            yield clip.having(**found).noting(**info["facts"])

    def _sound(self, info: dict[str, Any]) -> dict[str, Any]:
        """As ``Read`` gives it, from the segments that were kept; silence where none was."""
        from core.media.audio import decode_flac

        around, grid, longest = round(AROUND_S * FPS), round(GRID_S * FPS), round(SEGMENT_S * FPS)
        first = int(info["first_frame"])
        start = max(0, (first - around) // grid * grid)
        stop = min(int(info["clip_frames"]), first + longest + around)
        heard = np.zeros((stop - start) * FRAME, np.float32)
        end = own = 0
        for at, key in self._open["clips"][str(info["clip"])]:
            if at + longest > start and at < stop:
                sound, rate = decode_flac(self._open["samples"].read(key, ("sound",))["sound"])
                assert rate == SAMPLE_RATE, f"sound at {rate} Hz"
                skip = max(0, start - at) * FRAME
                place = max(0, at - start) * FRAME
                part = sound[skip:][: len(heard) - place]
                heard[place : place + len(part)] = part
                end = max(end, place + len(part))
                own = place + len(part) if at == first else own
        reach = own + round(AROUND_S * SAMPLE_RATE)  # no further than ``Read`` hears
        return {"sound": heard[: min(end, reach)], "offset": first - start}


@dataclass(frozen=True)
class Only:
    """Keeps ``fields`` and the sample's info, whose facts are those noted on the way; no more."""

    fields: tuple[str, ...]
    name = "only"
    needs = frozenset({"kept_info"})
    adds = frozenset({"info"})

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Lets go; 1:1."""
        for clip in clips:
            info = clip.fields["kept_info"]
            rest = {name: None for name in clip.fields if name not in self.fields}
            noted = {k: v for k, v in clip.facts.items() if info["facts"].get(k) != v}
            yield clip.having(**rest).having(info={**info, "facts": noted})
