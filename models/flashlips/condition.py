"""What stage 2 is told beside the noisy lips vectors: speech, references, emotion, head pose."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F

from core.errors import InputError

DEGREES = 45.0
"""Unit of head pose as the transformer sees it."""


@dataclass(frozen=True)
class Condition:
    """Conditions of a window; what a net has no input for is None.

    Attributes:
        speech: (B,T,D) features at the frames' times.
        references: (B,K*12) lips vectors of the person, in the transformer's units.
        emotion: (B,7) probabilities of speech emotions (w_e of Table A.3); zeros say nothing.
        pose: (B,T,d_p) head pose, see ``pose_input``; zeros say nothing.
    """

    speech: Any
    references: Any
    emotion: Any = None
    pose: Any = None

    def dropped(self, kept: Callable[[], Any]) -> Condition:
        """Each condition zeroed for the samples that ``kept()`` (B,) gives a 0."""
        found = {}
        for name in ("references", "speech", "emotion", "pose"):
            value = getattr(self, name)
            if value is not None:
                found[name] = value * kept().view(-1, *([1] * (value.ndim - 1)))
        return replace(self, **found)

    def silent(self) -> Condition:
        """Without what is heard: what guidance leads away from."""
        emotion = None if self.emotion is None else torch.zeros_like(self.emotion)
        return replace(self, speech=torch.zeros_like(self.speech), emotion=emotion)


def sizes(net: Mapping[str, Any]) -> tuple[int, int]:
    """(d_e, d_p) of a recipe's transformer; Table A.3's where it is silent."""
    return int(net["fmt"].get("emotion", 7)), int(net["fmt"].get("pose", 16))


def fields(net: Mapping[str, Any]) -> tuple[str, ...]:
    """Fields of a sample that the transformer of this size asks for, beside speech."""
    if "fmt" not in net:
        return ()
    emotion, pose = sizes(net)
    return (*(("emotion",) if emotion else ()), *(("pose",) if pose else ()))


def pose_input(pose: Any, size: int) -> Any:
    """Head pose (B,T,3) in degrees as (B,T,size): yaw, pitch and roll over 45, then zeros.

    Table A.3 gives d_p = 16 and not what they are.
    """
    return F.pad(pose.float() / DEGREES, (0, size - pose.shape[-1]))


def heard_by(net: Mapping[str, Any], origin: Mapping[str, Any]) -> dict[str, str]:
    """The encoders that the shards' features come from, by the names of a recipe's fields.

    A recipe that names no hash takes any weights of that name; the card will hold the hash.

    Raises:
        InputError: the recipe wants another encoder.
    """
    found = {}
    wanted = {"speech": "speech", **({"emotion": "emotion"} if sizes(net)[0] else {})}
    for kind, field in wanted.items():
        asked, made = str(net.get(f"{kind}_encoder", "")), str(origin.get(field, "none"))
        name, _, _ = made.partition(":") if kind == "emotion" else (made, "", "")
        if asked not in (name, re.sub(r"@[0-9a-f]+", "", name)):
            raise InputError(
                f"the shards' {kind} features are {made}, net.{kind}_encoder is "
                f"{asked or 'empty'}: preprocess with that encoder"
            )
        found[f"{kind}_encoder"] = name
    return found
