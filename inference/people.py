"""Who is in a video, and which of them is edited."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from core.errors import InputError
from core.media.crop import FLASHLIPS_128, warp
from core.media.video import Image
from core.weights import Store
from inference.tracks import Tracker
from models.experts.face import Face, FaceMesh

EVERY_S = 1.0
"""Seconds between two looks at the whole picture for the list."""
SAME = 0.4
"""Cosine from which two faces are one person's; strangers among 30 people had .66 at most, .37 in
the mean, but each face goes to whom it is most like."""
WIDTHS = 1.5
"""Without an identity net a face stays somebody's within so many face widths of where it was."""


class Who(Protocol):
    """Tells people apart, as ``models.experts.identity.Identity`` does."""

    def embed(self, frame: Image, landmarks: np.ndarray) -> np.ndarray:
        """Unit vector of the face."""


@dataclass(frozen=True)
class Person:
    """One of the people in a video.

    Attributes:
        first_s: when they are first seen. seen: in how many of the frames looked at.
        box: x0, y0, x1, y1 of their face where it was last seen, pixels of the frame.
        picture: a crop of the face, (128, 128, 3) uint8.
        vector: who it is, or None where there is no net for that.
    """

    first_s: float
    seen: int
    box: tuple[float, float, float, float]
    picture: np.ndarray
    vector: np.ndarray | None = None

    @property
    def x(self) -> float:
        """Middle of the face, from the left."""
        return (self.box[0] + self.box[2]) / 2

    @property
    def area(self) -> float:
        """Of the face's box."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


def find_people(
    frames: Iterable[tuple[float, Image]], tracker: Tracker, who: Who | None
) -> list[Person]:
    """Everybody in a video, in the order of their first look, from the left.

    Args:
        frames: (time, (H, W, 3) uint8 RGB).
        tracker: finds faces.
        who: tells them apart; None goes by place.
    """
    people: list[Person] = []
    for time, frame in _now_and_then(frames):
        faces = sorted(tracker.detect(frame), key=lambda face: float(face.box[0]))
        taken: set[int] = set()
        for face in faces:
            vector = None if who is None else who.embed(frame, face.landmarks)
            free = [i for i in range(len(people)) if i not in taken]
            known = most_like([people[i] for i in free], face, vector)
            if known is None:
                crop = FLASHLIPS_128.fit(face.landmarks[None], np.ones(1, bool))[0]
                people.append(Person(time, 1, face.box, warp(frame, crop, 128), vector))
                taken.add(len(people) - 1)
                continue
            at = free[known]
            taken.add(at)
            people[at] = replace(people[at], seen=people[at].seen + 1, box=face.box)
    return people


def _now_and_then(frames: Iterable[tuple[float, Image]]) -> Iterator[tuple[float, Image]]:
    due = 0.0
    for time, frame in frames:
        if time >= due - 1e-6:
            yield time, frame
            due = time + EVERY_S


def most_like(people: Sequence[Person], face: Face, vector: np.ndarray | None) -> int | None:
    """Whose face it is: index into ``people``, or None."""
    if not people:
        return None
    if vector is not None:
        alike = [-1.0 if p.vector is None else float(p.vector @ vector) for p in people]
        best = int(np.argmax(alike))
        return best if alike[best] >= SAME else None
    width = max(face.box[2] - face.box[0], 1.0)
    away = [float(np.hypot(*(_middle(p.box) - _middle(face.box)))) for p in people]
    best = int(np.argmin(away))
    return best if away[best] <= WIDTHS * width else None


def _middle(box: tuple[float, float, float, float]) -> np.ndarray:
    return np.add(box[:2], box[2:]) / 2


def choose(people: Sequence[Person], face: str, store: Store, who: Who | None) -> Person:
    """Whom ``--face`` means.

    Args:
        people: in the video.
        face: ``largest``, ``left``, ``right``, a number of the list, or a picture of the person.
        store: weights of the detector that looks at the picture.
        who: tells people apart.

    Raises:
        InputError: nobody is there, or nobody is meant.
    """
    if not people:
        raise InputError("no face was found in the video; give one that shows a face")
    if face == "largest":
        return max(people, key=lambda p: p.area)
    if face in ("left", "right"):
        return (min if face == "left" else max)(people, key=lambda p: p.x)
    if face.isdigit():
        if int(face) >= len(people):
            raise InputError(
                f"--face {face}: there are {len(people)} people, 0 to {len(people) - 1}; "
                "'flashlips faces VIDEO' lists them"
            )
        return people[int(face)]
    return _shown_by(Path(face), people, store, who)


def _shown_by(path: Path, people: Sequence[Person], store: Store, who: Who | None) -> Person:
    if not path.is_file():
        raise InputError(
            f"--face {path} is no file; give largest, left, right, a number or a picture"
        )
    if who is None:
        raise InputError(
            "--face with a picture needs the net mobilefacenet: 'flashlips weights status' says "
            "where to put it; or give left, right or a number"
        )
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    faces = [] if picture is None else FaceMesh(store).detect(picture)
    if picture is None or not faces:
        raise InputError(f"no face was found in {path}; give a picture of one person's face")
    at = most_like(people, faces[0], who.embed(picture, faces[0].landmarks))
    if at is None:
        raise InputError(f"nobody in the video is the person of {path}; give another picture")
    return people[at]


class Picked(FaceMesh):
    """A tracker that follows one person and nobody else.

    Args:
        store: weights. person: whom. who: tells people apart; None goes by place.
    """

    def __init__(self, store: Store, person: Person, who: Who | None) -> None:
        self._person, self._who = person, who
        super().__init__(store)

    def _confirmed(self, frame: Image, face: Face) -> bool:
        """As ``FaceMesh``; and after a cut another person may sit where this one was."""
        if self._who is not None:
            vector = self._who.embed(frame, face.landmarks)
            if most_like([self._person], face, vector) is None:
                return False
        return super()._confirmed(frame, face)

    def _pick(self, frame: Image, faces: list[Face]) -> Face | None:
        known: list[tuple[float, Face]] = []
        for face in faces:
            vector = None if self._who is None else self._who.embed(frame, face.landmarks)
            if most_like([self._person], face, vector) is not None:
                near = -abs(face.box[0] - self._person.box[0])
                alike = near if vector is None else float(vector @ _known(self._person))
                known.append((alike, face))
        if not known:
            return None
        found = max(known, key=lambda item: item[0])[1]
        self._person = replace(self._person, box=found.box)
        return found


def _known(person: Person) -> Any:
    assert person.vector is not None, "a person of a list that was made with a net has one"
    return person.vector


def sheet(people: Sequence[Person]) -> np.ndarray:
    """Pictures of everybody in a row, numbered: (128, 128 N, 3) uint8."""
    found = []
    for index, person in enumerate(people):
        picture = person.picture.copy()
        for colour, width in (((0, 0, 0), 4), ((255, 255, 255), 2)):
            cv2.putText(picture, str(index), (6, 26), cv2.FONT_HERSHEY_SIMPLEX, 0.9, colour, width)
        found.append(picture)
    return np.concatenate(found, 1)
