"""``data inspect``: numbers for a terminal, one page to look at."""

from __future__ import annotations

import base64
import html as escaping
import re
import shutil

import cv2
import numpy as np
import pytest

from core.errors import InputError
from flows.cli import main
from preprocessing import inspect, page
from preprocessing.run import preprocess

NASTY = "<script>alert('x')</script> & \"q\".mp4".replace("/", "_")


@pytest.fixture
def made(tmp_path, video, cheap):
    raw = tmp_path / "raw"
    for i in range(3):
        video(raw / f"clip {i}.mp4", seconds=1.2 + 0.4 * i, seed=i)
    video(raw / NASTY, seconds=0.4, seed=7)
    video(raw / "mute.mp4", seed=8, sound=False)
    (raw / "broken.mp4").write_bytes(b"no video at all")
    shutil.copy(raw / "clip 0.mp4", raw / "copy.mp4")
    preprocess("folder", raw, tmp_path / "out", cheap)
    return tmp_path / "out"


def pictures(text: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    return [cv2.imdecode(np.frombuffer(base64.b64decode(x), np.uint8), 1) for x in found]


def test_numbers(made):
    found = inspect.look(made)
    assert (found.samples, found.frames, len(found.speakers)) == (3, 120, 3)
    assert found.outcomes == {"ok": 3, "rejected": 2, "failed": 1, "duplicate": 1}
    reasons = {one.why: (one.outcome, one.count) for one in found.reasons}
    assert reasons["probe: too short"] == ("rejected", 1)
    assert reasons["read: no sound"] == ("rejected", 1)
    assert reasons["duplicate"] == ("duplicate", 1)
    lengths = found.facts["duration_s"]
    assert (lengths.low, lengths.high) == (0.4, 2.0)
    assert (lengths.kept.sum(), lengths.dropped.sum()) == (3, 2), "dropped after a look, too"
    assert "has_sound" in found.labels
    assert "sha256" not in found.labels
    said = inspect.text(found)
    for words in ("3 samples, 120 frames", "ok 3", "probe: too short", "duration_s", "█"):
        assert words in said
    assert "such as InputError: " in said, "what failed is told by an example"


def test_the_page_shows_kept_and_dropped_clips_and_escapes_names(made):
    text = page.html(inspect.look(made), [made])
    assert "<script" not in text
    assert escaping.escape(NASTY).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in text
    shown = pictures(text)
    assert len(shown) == 3 + 2, "three kept; two dropped that can be opened"
    assert all(p is not None and p.std() > 5 for p in shown)
    assert text.count('class="none"') == 2, "a broken file and a duplicate"
    assert not re.search(r'(?:src|href)="(?!data:)', text), "it needs no other file"


def test_pictures_of_dropped_clips_need_the_source(made, tmp_path):
    shutil.move(tmp_path / "raw", tmp_path / "moved")
    found = inspect.look(made)
    assert len(pictures(page.html(found, [made]))) == 3
    assert len(pictures(page.html(found, [made], tmp_path / "moved"))) == 5


def test_the_verb(made, tmp_path, capsys):
    assert main(["data", "inspect", str(made), "--out", str(tmp_path / "p" / "page.html")]) == 0
    out = capsys.readouterr().out
    assert "3 samples" in out
    assert out.strip().endswith("page.html")
    assert (tmp_path / "p" / "page.html").stat().st_size > 10_000
    assert main(["data", "inspect", str(tmp_path)]) == 2


def test_a_bucket(made, s3, capsys, tmp_path):
    for file in made.iterdir():
        if file.is_file():
            (s3.place("set") / file.name).upload(file)
    assert main(["data", "inspect", "s3://bucket/set", "--out", str(tmp_path / "p.html")]) == 0
    assert "s3://bucket/set" in capsys.readouterr().out
    assert len(pictures((tmp_path / "p.html").read_text())) == 5
    with pytest.raises(InputError, match="holds no manifest"):
        inspect.look(s3.place("nothing"))
