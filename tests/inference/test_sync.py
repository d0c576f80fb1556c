from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from core.contracts import PredictorSpec
from core.errors import InputError
from core.media.audio import read_sound, silence
from core.media.crop import FLASHLIPS_128
from core.media.video import probe, read_frames
from core.testing import (
    DummyPredictor,
    dummy_frame,
    dummy_sound,
    dummy_video,
    playlist,
    truncated,
)
from core.weights import Store
from inference.job import Coding, check_job
from inference.report import report_path
from inference.sync import run, sync

REPO = Path(__file__).resolve().parents[2]
WHOLE = PredictorSpec(None, 25.0, 8, 2, 2, "frame")
NO_WEIGHTS = Store(())


def plain(views, call):
    return views


def frames_of(path):
    return [frame for _, frame in read_frames(path)]


@pytest.fixture
def synced(media, faces, tmp_path):
    """A run over talk.mp4 that is blind for frames 5 to 7: (predictor, report, out)."""
    predictor = DummyPredictor(PredictorSpec(FLASHLIPS_128, 25.0, 16, 4, 4))
    out = tmp_path / "out.mp4"
    job = check_job(media / "talk.mp4", media / "new.wav", out, Coding(), 7, None)
    return predictor, run(job, predictor, faces(range(5, 8), count=2)), out


def test_same_frames_size_and_rate_with_the_new_sound(media, synced):
    _, report, out = synced
    was, now = probe(media / "talk.mp4"), probe(out)
    assert (now.width, now.height, now.fps) == (was.width, was.height, was.fps)
    assert len(frames_of(out)) == len(frames_of(media / "talk.mp4")) == report.frames == 40
    sound = read_sound(out)
    # The buzz fills 0.25 to 0.75 s; AUDIO ends at 1 s, the video at 1.6 s. AAC may pad a little.
    assert abs(len(sound) - 1.6 * 16_000) < 0.1 * 16_000
    level = [np.abs(sound[int(a * 16_000) : int(b * 16_000)]).mean()
             for a, b in ((0.02, 0.2), (0.3, 0.7), (0.85, 1.55))]  # fmt: skip
    assert level[1] > 0.1
    assert max(level[0], level[2]) < 0.01


def test_untouched_frames_look_as_before_and_edited_ones_do_not(media, synced):
    _, _, out = synced
    pairs = zip(frames_of(media / "talk.mp4"), frames_of(out), strict=True)
    change = np.array([np.abs(a.astype(int) - b).mean() for a, b in pairs])
    assert change[5:8].max() < 2
    assert change[12:].min() > 3


def test_the_predictor_gets_the_sound_the_times_and_the_person(synced):
    predictor, _, _ = synced
    assert len(predictor.sound) == round(1.6 * 16_000)
    assert silence(predictor.sound, 16_000, 25, 40)[27:].all()
    assert predictor.seed == 7
    assert predictor.references.shape == (4, 128, 128, 3)
    times = np.unique(np.concatenate(predictor.calls))
    assert np.allclose(times, np.delete(np.arange(40) / 25, range(5, 8)))


def test_report_says_what_was_done(synced):
    _, _, out = synced
    saved = json.loads(report_path(out).read_text())
    assert report_path(out) == out.with_suffix(".json")
    assert saved["frames"] == 40
    assert saved["edited"] == 37
    assert saved["untouched"] == [
        {"first": 5, "last": 7, "start_s": 0.2, "reason": "no face found"}
    ]
    assert saved["fps_by_part"].keys() == {"decode", "track", "edit", "paste", "encode"}
    assert saved["faces"] == 2
    assert any("2 faces" in note for note in saved["notes"])
    assert any("0.60 s shorter" in note for note in saved["notes"])
    assert len(saved["people"][0]["references_s"]) == 4
    assert saved["people"][0]["untouched"] == saved["untouched"]
    assert saved["quality"]


def test_out_says_that_it_was_edited(synced):
    with av.open(str(synced[2])) as container:
        assert container.metadata["comment"].startswith("lip-sync edited by FlashLips house")


def test_whole_frames_at_another_rate_with_odd_size_and_longer_sound(tmp_path):
    video = dummy_video(tmp_path / "in.mp4", 0.8, Fraction(30_000, 1001), (161, 121), sound=False)
    audio = dummy_sound(tmp_path / "new.wav", 3.0)
    told = []
    report = sync(
        video, audio, tmp_path / "new" / "out.mp4", DummyPredictor(WHOLE, plain), NO_WEIGHTS,
        progress=lambda part, done, total: told.append((part, done, total)),
    )  # fmt: skip
    now = probe(tmp_path / "new" / "out.mp4")
    assert (now.width, now.height, now.fps) == (161, 121, Fraction(30_000, 1001))
    assert report.frames == report.edited == 24
    assert any("were cut" in note for note in report.notes)
    assert told[0] == ("track", 1, 24)
    assert told[-1] == ("edit", 24, 24)


def test_same_seed_same_bytes(media, tmp_path):
    for name in ("a.mp4", "b.mp4"):
        noisy = DummyPredictor(WHOLE)
        noisy.edit_with = lambda views, call, p=noisy: (
            views ^ np.random.default_rng((p.seed, call)).integers(0, 4, views.shape, np.uint8)
        )
        sync(media / "talk.mp4", media / "new.wav", tmp_path / name, noisy, NO_WEIGHTS, seed=3)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def make_empty(folder, media):
    (folder / "empty.mp4").touch()
    return folder / "empty.mp4", media / "new.wav"


def make_cut(folder, media):
    return truncated(media / "talk.mp4", folder / "cut.mp4"), media / "new.wav"


def make_cut_mpg(folder, media):
    """A truncated file of a kind whose index lies at its end."""
    data = (media / "talk.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(data[:300])
    return folder / "cut.mp4", media / "new.wav"


def make_no_picture(folder, media):
    return media / "new.wav", media / "new.wav"


def make_no_sound(folder, media):
    return media / "talk.mp4", dummy_video(folder / "mute.mp4", 0.2, sound=False)


def make_empty_sound(folder, media):
    (folder / "empty.wav").touch()
    return media / "talk.mp4", folder / "empty.wav"


def make_playlist(folder, media):
    return playlist(folder / "list.mp4", media / "talk.mp4"), media / "new.wav"


def make_text(folder, media):
    (folder / "text.mp4").write_text("no video at all\n" * 100)
    return folder / "text.mp4", media / "new.wav"


def make_missing(folder, media):
    return folder / "missing.mp4", media / "new.wav"


BAD = [
    (make_empty, "empty.mp4"),
    (make_cut, "cut.mp4"),
    (make_cut_mpg, "cut.mp4"),
    (make_no_picture, "new.wav"),
    (make_no_sound, "mute.mp4"),
    (make_empty_sound, "empty.wav"),
    (make_playlist, "list.mp4"),
    (make_text, "text.mp4"),
    (make_missing, "missing.mp4"),
]


def one_sentence(error) -> bool:
    text = str(error)
    return "\n" not in text and 20 < len(text) < 400


@pytest.mark.parametrize(("make", "named"), BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(make, named, media, tmp_path):
    (tmp_path / "in").mkdir()
    video, audio = make(tmp_path / "in", media)
    out = tmp_path / "out" / "out.mp4"
    with pytest.raises(InputError) as caught:
        sync(video, audio, out, DummyPredictor(WHOLE, plain), NO_WEIGHTS)
    assert named in str(caught.value)
    assert one_sentence(caught.value)
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_no_face_anywhere(media, tmp_path, faces):
    job = check_job(media / "talk.mp4", media / "new.wav", tmp_path / "out.mp4", Coding(), 0, None)
    with pytest.raises(
        InputError, match=r"no face was found in any of the 40 frames of .*talk\.mp4"
    ):
        run(job, DummyPredictor(), faces(range(40)))
    assert not list(tmp_path.iterdir())


def test_output_that_cannot_be_written(media, tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "out.mp4", tmp_path, tmp_path / "out.avi"):
        with pytest.raises(InputError) as caught:
            sync(media / "talk.mp4", media / "new.wav", out, DummyPredictor(WHOLE), NO_WEIGHTS)
        assert one_sentence(caught.value)


def test_inputs_are_never_overwritten(media, tmp_path):
    video = dummy_video(tmp_path / "in.mp4", 0.2)
    (tmp_path / "same.mp4").symlink_to(video)
    before = video.read_bytes()
    for out in (video, tmp_path / "same.mp4"):
        with pytest.raises(InputError, match="also an input"):
            sync(video, media / "new.wav", out, DummyPredictor(WHOLE, plain), NO_WEIGHTS)
        with pytest.raises(InputError, match="also an input"):
            sync(media / "talk.mp4", video, out, DummyPredictor(WHOLE, plain), NO_WEIGHTS)
    assert video.read_bytes() == before


def test_a_crash_in_the_middle_leaves_the_old_output(media, tmp_path):
    out = tmp_path / "out.mp4"
    out.write_bytes(b"old")

    def crash(views, call):
        if call == 2:
            raise RuntimeError("the predictor broke")
        return views

    with pytest.raises(RuntimeError, match="broke"):
        sync(media / "talk.mp4", media / "new.wav", out, DummyPredictor(WHOLE, crash), NO_WEIGHTS)
    assert out.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_missing_tracker_weights_are_named(media, tmp_path):
    with pytest.raises(InputError, match="flashlips weights fetch"):
        sync(
            media / "talk.mp4", media / "new.wav", tmp_path / "o.mp4", DummyPredictor(), NO_WEIGHTS
        )


def test_crf_out_of_range(media, tmp_path):
    out = tmp_path / "out.mp4"
    with pytest.raises(InputError, match="crf 99"):
        sync(media / "talk.mp4", media / "new.wav", out, DummyPredictor(WHOLE), NO_WEIGHTS,
             coding=Coding(99))  # fmt: skip


def test_sync_never_loads_the_engines(media, tmp_path):
    code = f"""
import sys
from pathlib import Path
import inference.load
from core.contracts import PredictorSpec
from core.testing import DummyPredictor
from core.weights import Store
from inference.sync import sync
spec = PredictorSpec(None, 25.0, 4, 1, 1, "frame")
sync(Path({str(media / "nobody.mp4")!r}), Path({str(media / "new.wav")!r}),
     Path({str(tmp_path / "out.mp4")!r}), DummyPredictor(spec), Store(()))
print(sorted({{"ray", "prefect", "mlflow", "torch"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO, check=False,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_a_drawn_face_is_found_and_edited(store, media, tmp_path):
    report = sync(
        media / "talk.mp4", media / "new.wav", tmp_path / "out.mp4", DummyPredictor(), store
    )
    assert report.frames == report.edited == 40
    assert report.faces == 1
    with pytest.raises(InputError, match="no face was found"):
        sync(media / "nobody.mp4", media / "new.wav", tmp_path / "o.mp4", DummyPredictor(), store)


def test_the_largest_of_two_drawn_faces_is_edited(store, media, tmp_path):
    from core.media.video import VideoWriter
    from core.testing import draw_face, dummy_mesh

    with VideoWriter(tmp_path / "two.mp4", 480, 240, Fraction(25), crf=12) as out:
        for index in range(12):
            frame = dummy_frame(0, 480, 240)
            for centre, tall in (((110, 100), 90), ((340, 90), 130)):
                gap = 0.05 * (1 - np.cos(index / 2))
                frame = draw_face(frame, dummy_mesh(centre, tall, gap))
            out.write(frame)
    report = sync(
        tmp_path / "two.mp4", media / "new.wav", tmp_path / "out.mp4", DummyPredictor(), store
    )
    assert report.faces == 2
    change = np.abs(
        frames_of(tmp_path / "out.mp4")[6].astype(int) - frames_of(tmp_path / "two.mp4")[6]
    )
    assert change[:, 240:].mean() > 6
    assert change[:, :220].mean() < 2.5


def test_a_grid_clip_keeps_every_frame(store, clips, tmp_path):
    source = clips / "LipNet__bbaf2n.mpg"
    report = sync(source, source, tmp_path / "out.mp4", DummyPredictor(), store)
    assert report.frames == len(frames_of(source)) == report.edited == 75
