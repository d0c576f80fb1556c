"""``flashlips evaluate --benchmark`` and ``compare``, as a person runs them on others' videos."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from core.media.video import VideoWriter
from core.testing import talking_frame, talking_video
from evaluation.benchmarks.pairs import Heads, find
from evaluation.metrics import learned
from evaluation.published import MARK
from flows.cli import main
from infra.settings import settings


@pytest.fixture
def clips(tmp_path, store):
    """Two talking clips, in an environment of their own."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for index, name in enumerate(("anna", "ben")):
        talking_video(folder / f"{name}.mp4", 20, index)
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
    tracked_as_one_evaluation({"bright": bright, "dark": dark})


def runs(experiment="flashlips"):
    from mlflow import MlflowClient

    client = MlflowClient(settings().mlflow_uri)
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def children():
    """Runs of measured systems, by system."""
    below = [run for run in runs() if "mlflow.parentRunId" in run.data.tags]
    return {run.data.tags["system"]: run for run in below}


def tracked_as_one_evaluation(results):
    """One parent for the work, a child for each system, numbers under compare's names."""
    parents = [run for run in runs() if "mlflow.parentRunId" not in run.data.tags]
    assert [p.info.run_name for p in parents] == ["evaluate reconstruction@1"]
    assert children().keys() == results.keys()
    for name, child in children().items():
        assert child.data.tags["mlflow.parentRunId"] == parents[0].info.run_id
        known = {k: v for k, v in results[name]["values"].items() if v is not None}
        assert child.data.metrics == pytest.approx(known)
    papers = runs("published")
    systems = [run.data.tags["system"] for run in papers if "system" in run.data.tags]
    assert any(name.startswith("FlashLips") for name in systems)
    assert len(systems) == len(papers) - 1, "logged once, whoever was measured"
    assert {run.data.tags["mark"] for run in papers} == {MARK}
    assert all(name.startswith("published/") for run in papers for name in run.data.metrics)


def test_questions_that_cannot_be_answered_are_one_sentence(clips, tmp_path, capsys):
    shutil.copytree(clips, tmp_path / "made")
    for arguments, said in (
        ([], "give either --shards or --benchmark"),
        (["--benchmark", "clips"], "clips@1 needs --clips"),
        (
            ["--benchmark", "clips", "--videos", "x", "--system", "y", "--speed"],
            "finished videos tell no speed",
        ),
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


def test_files_without_sound_are_left_out_and_named(clips, tmp_path, monkeypatch):
    monkeypatch.setenv("FLASHLIPS_RUNS", str(tmp_path / "runs"))
    with VideoWriter(clips / "mute.mp4", 320, 240, Fraction(25), crf=10) as out:
        for at in range(20):
            out.write(talking_frame(at)[0])
    arguments = ["evaluate", "--benchmark", "reconstruction", "--clips", str(clips)]
    arguments += ["--videos", str(clips), "--system", "same", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    found = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert found["manifest"]["without_sound"] == ["mute.mp4"]
    assert found["pairs"] == 2
    page = (tmp_path / "out" / "report.html").read_text()
    assert "mute.mp4" in page.rpartition("Left out</h2>")[2].partition("<h2")[0]


@pytest.mark.slow
def test_the_synthetic_benchmark_brings_its_clips_and_tells_the_speed(tmp_path, store, monkeypatch):
    monkeypatch.setenv("FLASHLIPS_RUNS", str(tmp_path / "runs"))
    small = replace(find("synthetic"), heads=Heads(people=1, seconds=1.0, seed=5))
    monkeypatch.setattr("flows.benchmark.find", lambda name: small)
    assert main(["evaluate", "--benchmark", "synthetic", "--speed", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "scores.json").read_text())
    assert found["complete"]
    assert {p["kind"] for p in found["manifest"]["pairs"]} == {"self", "silent"}
    fps, slow = found["values"]["speed_fps"], found["values"]["speed_real_time"]
    assert fps * slow == pytest.approx(25, rel=0.05)
    assert found["directions"]["speed_real_time"] == "lower"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_metrics_of_absent_weights_run_all_the_way_with_random_ones(clips, tmp_path, monkeypatch):
    """All but VBench's largest nets, which take minutes and have tests of their own."""
    monkeypatch.setenv("FLASHLIPS_RUNS", str(tmp_path / "runs"))
    heavy = {n for n in learned.MAKERS if n.startswith("vbench")} - {"vbench_subject_consistency"}
    kept = {name: made for name, made in learned.MAKERS.items() if name not in heavy}
    monkeypatch.setattr(learned, "MAKERS", kept)
    arguments = ["evaluate", "--benchmark", "reconstruction", "--clips", str(clips), "--random"]
    arguments += ["--videos", str(clips), "--system", "same", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    found = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert not found["failures"]
    for metric in found["missing"]:
        assert metric["name"] not in found["values"]
    tried = {n: v for n, v in found["values"].items() if n.startswith("random/")}
    wanted = kept.keys() - {"id_mobilefacenet"}  # its weights are here
    assert {f"random/{n}" for n in wanted} <= tried.keys()
    run = next(iter(children().values()))
    numbers = {n: v for n, v in tried.items() if v is not None}  # FVD of so few windows has none
    assert {n: run.data.metrics[n] for n in numbers} == pytest.approx(numbers)
