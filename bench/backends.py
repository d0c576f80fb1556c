"""What runs nano's net the fastest on this machine's cores?

    python bench/backends.py [--quick]

What every frame goes through (encode, edit, decode; one net) on 128 px crops: torch as it is,
torch.compile, ONNX Runtime, OpenVINO and ncnn, with one thread and two; milliseconds a frame, as
medians over interleaved runs, and how many times faster than torch in the same run. Answers that
differ from torch's by more than 1e-3 of the largest number count as failed. ONNX Runtime and
OpenVINO need the extra ``bench`` (pip install -e '.[bench]'); torch.compile needs a C++ compiler.
Writes bench/results/backends.json.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core.files import write_json
from evaluation.machine import machine, revision
from inference.load import load
from infra.settings import quiet, settings
from models.backends import CLOSE
from models.backends.compiled import Compiled
from models.backends.eager import Eager
from models.backends.ncnn import open_ncnn
from models.flashlips.bundle import Edit

OUT = Path(__file__).parent / "results" / "backends.json"
FRAMES = 16
"""At once, as the predictor's windows are."""
Run = Callable[..., Any]


def eager(net: nn.Module, given: list[torch.Tensor], threads: int, work: Path) -> Run:
    return Eager(net)


def compiled(net: nn.Module, given: list[torch.Tensor], threads: int, work: Path) -> Run:
    return Compiled(net, "cpu", torch.float32)


def ncnn(net: nn.Module, given: list[torch.Tensor], threads: int, work: Path) -> Run:
    return open_ncnn(net, [g[:1] for g in given], work, threads)


def onnx(net: nn.Module, given: list[torch.Tensor], threads: int, work: Path) -> Run:
    import onnxruntime

    path = work / "net.onnx"
    names = ["x", "reference", "lips"]
    torch.onnx.export(net, tuple(given), str(path), dynamo=False, input_names=names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda *g: torch.from_numpy(
        session.run(None, {n: t.numpy() for n, t in zip(names, g, strict=True)})[0]
    )


def openvino(net: nn.Module, given: list[torch.Tensor], threads: int, work: Path) -> Run:
    import openvino as ov

    model = ov.convert_model(net, example_input=tuple(given))
    hints = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = ov.Core().compile_model(model, "CPU", hints).create_infer_request()
    return lambda *g: torch.from_numpy(
        np.array(next(iter(request.infer([t.numpy() for t in g]).values())))
    )


BACKENDS: dict[str, Callable[[nn.Module, list[torch.Tensor], int, Path], Run]] = {
    "torch": eager, "torch.compile": compiled, "onnxruntime": onnx, "openvino": openvino,
    "ncnn": ncnn,
}  # fmt: skip


def one_thread_count(net: nn.Module, given: list[torch.Tensor], threads: int, rounds: int) -> Any:
    """Rows by backend. Runs are interleaved, so that a busy minute hits all of them."""
    torch.set_num_threads(threads)
    rows: dict[str, dict[str, Any]] = {}
    ready: dict[str, Run] = {}
    with torch.inference_mode(), tempfile.TemporaryDirectory() as work:
        wanted = net(*given)
        for name, build in BACKENDS.items():
            try:
                run = build(net, given, threads, Path(work))
                apart = float((run(*given) - wanted).abs().max() / wanted.abs().max())
            except Exception as error:  # noqa: BLE001 - whatever a library says is the row
                rows[name] = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
                continue
            rows[name] = {"difference": apart}
            if apart <= CLOSE:
                ready[name] = run
        times: dict[str, list[float]] = {name: [] for name in ready}
        for _ in range(rounds):
            for name, run in ready.items():
                start = time.perf_counter()
                run(*given)
                times[name].append((time.perf_counter() - start) * 1e3 / FRAMES)
    for name, found in times.items():
        rows[name]["ms_a_frame"] = round(statistics.median(found), 2)
    for row in rows.values():
        if "ms_a_frame" in row:
            row["times_faster"] = round(rows["torch"]["ms_a_frame"] / row["ms_a_frame"], 2)
    return rows


def main() -> None:
    quiet()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few runs, to see that it works")
    args = parser.parse_args()
    system = load(None, settings().store()).predictor.system  # type: ignore[attr-defined]
    net = Edit(system.editor, system.codec).eval()
    rng = torch.Generator().manual_seed(0)
    crops = torch.rand(FRAMES, 3, 128, 128, generator=rng) * 2 - 1
    with torch.inference_mode():
        reference = system.editor.reference(system.codec.encode(crops[:1]))
    given = [crops, reference.clone(), torch.randn(FRAMES, system.lips_length, generator=rng)]
    rounds = 2 if args.quick else 9
    report: dict[str, Any] = {
        f"{threads} threads": one_thread_count(net, given, threads, rounds) for threads in (1, 2)
    }
    report |= {"date": datetime.date.today().isoformat(), "quick": args.quick}
    report |= {"load_average": os.getloadavg()[0], "revision": revision(), "machine": machine()}
    for threads in (1, 2):
        for name, row in report[f"{threads} threads"].items():
            print(threads, name, row)
    write_json(OUT, report)


if __name__ == "__main__":
    main()
