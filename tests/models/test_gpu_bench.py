"""The bench of the paper's nets on a GPU: what it counts, how it compares, that it runs at all."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from core.files import write_json

REPO = Path(__file__).parents[2]
MODULES = ("gpu_nets", "gpu_timing", "gpu_copies", "gpu")
PART = "part: edit vit 256"


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(REPO / "bench"))
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    sys.path.remove(str(REPO / "bench"))
    for name in MODULES:
        del sys.modules[name]


@pytest.fixture
def timer(bench):
    """Makes a bench of small nets on the CPU, for a backend of ``torch.compile``."""

    def make(backend="eager", side=32):
        torch._dynamo.reset()
        compiler = {"backend": backend, "dynamic": False, "fullgraph": True}
        sizes = replace(bench.gpu_nets.SMALL, side={256: side})
        workshop = bench.gpu_nets.Workshop(sizes, "cpu", compiler)
        return bench.gpu_timing.Bench(workshop, bench.gpu_timing.Protocol(1, 2, 0.0, 0.0), 1.0)

    return make


def call(bench, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--tiny", *words])
    bench.gpu.main()


def test_flops_are_those_of_an_independent_count(bench):
    pytest.importorskip("diffusers")
    wanted = {
        ("decode", "sdxl", 256): 622.2, ("decode", "tiny", 256): 35.3,
        ("edit", "unet", 512): 497.5, ("edit", "vit", 256): 619.0,
    }  # fmt: skip
    for words, gflop in wanted.items():
        unit = bench.gpu_nets.Unit(*words)
        counted = bench.gpu_nets.counted_gflop(unit, bench.gpu_nets.PAPER)
        assert counted == pytest.approx(gflop, abs=0.05), words


def test_every_row_is_planned_once_and_the_wanted_come_first(bench):
    rows = [(name, v.name) for name, variants in bench.gpu.plan() for v in variants]
    everything = {(n, v.name) for n in bench.gpu.SUBJECTS for v in bench.gpu_timing.VARIANTS}
    assert len(rows) == len(set(rows))
    assert set(rows) == everything
    names = list(dict.fromkeys(name for name, _ in rows))
    assert set(names[:5]) == set(bench.gpu.WANTED)
    for name, variants in bench.gpu.plan():
        seen = {v for n, v in rows if n == name}
        assert all(v.after in {"", *seen} for v in variants), "a trick is added to what is measured"


def test_the_whole_script(bench, monkeypatch, tmp_path, capsys):
    pytest.importorskip("diffusers")
    kept = bench.gpu.OUT.read_bytes() if bench.gpu.OUT.exists() else None
    out = tmp_path / "gpu.json"
    call(bench, monkeypatch, "--out", str(out), "--only", bench.gpu.TINY_256, PART, "overlap")
    found = json.loads(out.read_text())
    assert set(found["rows"]) == {bench.gpu.TINY_256, PART}
    for row in found["rows"].values():
        variants = row["variants"]
        assert set(variants) == {v.name for v in bench.gpu_timing.VARIANTS}
        for variant in bench.gpu_timing.VARIANTS:
            cell = variants[variant.name]
            if variant.graph:
                assert cell == {"not_run": "CUDA graphs need CUDA"}
                continue
            assert cell["fps"] == pytest.approx(1000 / cell["ms"], rel=0.02)
            assert cell["error"] == 0 if variant.name == "eager fp32" else 0 < cell["error"] < 0.2
        assert variants["compiled"]["compile_s"] > 0
        gain = variants["eager fp32"]["ms"] / variants["eager bf16"]["ms"]
        assert variants["eager bf16"]["gain"] == pytest.approx(gain, abs=0.01)
        assert {"device", "torch", "date", "revision", "ceilings"} <= set(row["on"])
    assert all(w["met"] is None for w in found["wanted"].values()), "small nets meet nothing"
    assert "not_run" in found["overlap"]
    assert PART in capsys.readouterr().out
    assert (bench.gpu.OUT.read_bytes() if bench.gpu.OUT.exists() else None) == kept


def test_without_time_rows_say_so(bench, monkeypatch, capsys):
    call(bench, monkeypatch, "--limit-s", "0", "--only", PART)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith(PART)]
    assert len(said) == len(bench.gpu_timing.VARIANTS)
    assert all("'not_run': 'time'" in line for line in said)


def test_a_compiler_that_fails_is_a_row_with_its_reason(bench, timer):
    def broken(graph, inputs):
        raise RuntimeError("no code for this chip")

    row = timer(broken).row(bench.gpu.SUBJECTS[PART], bench.gpu_timing.COMPILED)
    assert set(row) == {"failed"}
    assert "no code for this chip" in row["failed"]


def test_too_little_memory_is_a_row_with_its_reason(bench, timer, monkeypatch):
    def full(sizes):
        raise torch.OutOfMemoryError("tried to allocate 3 GiB")

    monkeypatch.setitem(bench.gpu_nets.NETS, "vit", full)
    row = timer().row(bench.gpu.SUBJECTS[PART], bench.gpu_timing.EAGER)
    assert row == {"failed": "out of memory"}


def test_a_pipeline_and_its_parts_share_what_was_compiled(bench, timer):
    graphs = []

    def counting(graph, inputs):
        graphs.append(graph)
        return graph.forward

    made = timer(counting)
    chain = bench.gpu.pipeline("slim", "unet-slim", 256)
    with torch.no_grad():
        for part in (chain, chain[1:], *((unit,) for unit in chain)):
            x, lips = made.clip(part[0])
            made.ready(part, bench.gpu_timing.COMPILED)(x[1:2], lips[1:2])
    assert len(graphs) == len(chain)


@pytest.mark.parametrize("channels_last", [False, True])
def test_convolutions_see_the_layout_that_the_row_names(bench, timer, channels_last):
    # At 32 px the deepest level is one cell, which has no layout to hand on.
    made, form = timer(side=64), bench.gpu_nets.Form(channels_last=channels_last)
    chain, seen = bench.gpu.pipeline("slim", "unet-slim", 256), []
    for unit in chain:
        for name, module in made.workshop.step(unit, form).named_modules():
            if isinstance(module, torch.nn.Conv2d) and module.in_channels >= 8:
                module.register_forward_pre_hook(
                    lambda m, x, name=name: seen.append((name, x[0].clone(), m.weight))
                )
    variant = replace(bench.gpu_timing.NHWC, form=form)
    assert "ms" in made.row(chain, variant)
    inner = [(x, weight) for name, x, weight in seen if "conv1" in name or "conv2" in name]
    assert len(inner) > 10
    for x, weight in inner:
        assert x.is_contiguous(memory_format=form.layout)
        assert weight.is_contiguous(memory_format=form.layout)


def test_a_report_keeps_what_this_run_does_not_reach(bench, tmp_path):
    path, name = tmp_path / "gpu.json", bench.gpu.UNET_512
    eager, bf16, *_, graph = bench.gpu_timing.LADDER
    first = bench.gpu.Report(path, {"tiny": False, "date": "first"}, fresh=False)
    first.add(name, eager, {"ms": 20.0, "fps": 50.0, "gflop": 3000.0})
    first.add(name, bf16, {"ms": 10.0, "fps": 100.0, "gflop": 3000.0})
    assert not first.all["wanted"][name]["met"]
    first.add(name, graph, {"ms": 8.0, "fps": 125.0, "gflop": 3000.0})
    assert first.all["wanted"][name] == {
        "wanted_fps": 109.41, "meaning": bench.gpu.WANTED[name][1], "met": True,
        "best": graph.name, "fps": 125.0, "fps_one_by_one": 125.0,
    }  # fmt: skip
    assert first.all["rows"][name]["variants"][graph.name]["over_eager"] == 2.5
    assert first.all["rows"][name]["variants"][bf16.name]["gain"] == 2.0

    second = bench.gpu.Report(path, {"tiny": False, "date": "second"}, fresh=False)
    second.add(name, eager, {"not_run": "time"})
    assert second.all["rows"] == first.all["rows"]
    second.add(name, eager, {"ms": 30.0, "fps": 33.3})
    second.add(name, bf16, {"not_run": "time"})
    row = json.loads(path.read_text())["rows"][name]
    assert row["on"]["date"] == "second"
    assert row["variants"][bf16.name] == {"not_run": "time"}
    assert not second.settled(name)


def test_the_rest_is_what_has_no_answer_yet(bench, tmp_path):
    cells = {v.name: {"ms": 1.0, "fps": 1000.0} for v in bench.gpu_timing.VARIANTS}
    cells["compiled"] = {"failed": "out of memory"}
    rows = {PART: {"on": {"tiny": False}, "variants": cells}}
    write_json(tmp_path / "gpu.json", {"rows": rows})
    report = bench.gpu.Report(tmp_path / "gpu.json", {"tiny": False}, fresh=False)
    assert report.settled(PART), "a reason is an answer"
    assert not report.settled(bench.gpu.UNET_512)
    assert not report.settled("overlap")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_gpu_it_says_what_to_do(bench, capsys):
    with pytest.raises(SystemExit):
        bench.gpu.arguments([])
    assert "--tiny" in capsys.readouterr().err


def test_it_loads_little(bench):
    code = (
        "import sys; sys.path.insert(0, 'bench'); import gpu;"
        "heavy = {'cv2', 'av', 'scipy', 'onnxruntime', 'transformers', 'ray', 'diffusers'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPO)


@pytest.mark.gpu
def test_graphs_and_streams_give_the_same_frames(bench):
    # Not part of any default run: graphs and streams exist on a card only.
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    workshop = bench.gpu_nets.Workshop(bench.gpu_nets.SMALL, "cuda", {"backend": "eager"})
    made = bench.gpu_timing.Bench(workshop, bench.gpu_timing.Protocol(1, 2, 0.0, 0.0), 1.0)
    chain = bench.gpu.pipeline("slim", "unet-slim", 256)
    row = made.row(chain, bench.gpu_timing.GRAPH)
    assert row["error"] < 0.2, row
    with torch.no_grad():
        found = bench.gpu_copies.overlap(made, chain, bench.gpu_timing.GRAPH, frames=64)
    assert found["same_frames"]
