"""``flashlips evaluate --benchmark`` and ``compare``, as a person runs them on others' videos."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction

import numpy as np
import pytest

from core.media.video import VideoWriter
from core.testing import talking_frame
from flows.cli import main


@pytest.fixture
def clips(tmp_path, store):
    """Two talking clips, in an environment of their own."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for index, name in enumerate(("anna", "ben")):
        tone = 0.1 * np.sin(np.arange(12_800) / (8 + index)).astype(np.float32)
        with VideoWriter(folder / f"{name}.mp4", 320, 240, Fraction(25), tone, crf=10) as out:
            for at in range(20):
                out.write(talking_frame(at + 3 * index)[0])
    return folder


def made(clips, folder, dim):
    """Videos of a system that changes nothing but their brightness."""
    from core.media.video import read_frames

    folder.mkdir()
    for clip in clips.iterdir():
        with VideoWriter(folder / clip.name, 320, 240, Fraction(25), crf=10) as out:
            for _, frame in read_frames(clip):
                out.write((frame * dim).astype(np.uint8))
    return folder


@pytest.mark.parametrize(
    "workers", ["1", pytest.param("2", marks=[pytest.mark.ray, pytest.mark.slow])]
)
def test_somebody_elses_videos_are_measured_and_compared(workers, clips, tmp_path, monkeypatch):
    monkeypatch.setenv("FLASHLIPS_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("FLASHLIPS_WORKERS", workers)
    for name, dim in (("bright", 0.98), ("dark", 0.6)):
        videos = made(clips, tmp_path / name, dim)
        arguments = ["evaluate", "--benchmark", "reconstruction@1", "--clips", str(clips)]
        arguments += [
            "--videos",
            str(videos),
            "--system",
            name,
            "--out",
            str(tmp_path / f"r-{name}"),
        ]
        assert main(arguments) == 0
    bright, dark = (
        json.loads((tmp_path / f"r-{name}" / "scores.json").read_text())
        for name in ("bright", "dark")
    )
    assert bright["complete"]
    assert bright["values"]["psnr"] > dark["values"]["psnr"] + 5
    missing = {m["name"]: m["remedy"] for m in bright["missing"]}
    assert missing.get("fid")
    assert "fid" not in bright["values"]
    results = [str(tmp_path / f"r-{name}") for name in ("bright", "dark")]
    ablate = ["--ablate", "light=0.98,0.6"]
    assert main(["compare", *results, "--out", str(tmp_path / "both"), *ablate]) == 0
    page = (tmp_path / "both" / "report.html").read_text()
    assert "Each system less bright" in page
    assert "Ablation: light" in page
    assert (tmp_path / "r-bright" / "report.html").read_text().count("<video") == 2


def test_questions_that_cannot_be_answered_are_one_sentence(clips, tmp_path, capsys):
    shutil.copytree(clips, tmp_path / "made")
    for arguments, said in (
        (["--benchmark", "clips"], "give either --shards, or --benchmark and --clips"),
        (["--benchmark", "beauty", "--clips", str(clips)], "no benchmark 'beauty'"),
        (
            ["--benchmark", "clips", "--clips", str(clips), "--videos", str(tmp_path / "made")],
            "--videos needs --system",
        ),
    ):
        assert main(["evaluate", *arguments, "--out", str(tmp_path / "out")]) == 2
        assert said in capsys.readouterr().err
    assert main(["compare", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "name a folder that 'flashlips evaluate' wrote" in capsys.readouterr().err
