"""How bench/gpu.py times: variants of one pipeline, each with one trick more, by one protocol."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Any

import torch
from gpu_nets import Form, Unit, Workshop, counted_gflop

Run = Callable[[Any, Any], Any]
HALF, LAST = Form(half=True), Form(half=True, channels_last=True)
COMPILE_S, EAGER_S = 45.0, 5.0
"""First guesses of what a unit's compilation and a row take, before one has been seen."""
COMPARED = 4
"""Frames of each row's output that are compared with eager float32."""


@dataclass(frozen=True)
class Variant:
    """How a pipeline is run; ``after`` is the variant to which this adds one trick."""

    name: str
    after: str
    form: Form
    compiled: bool = False
    graph: bool = False
    batch: int = 1


EAGER = Variant("eager fp32", "", Form())
BF16 = Variant("eager bf16", EAGER.name, HALF)
NHWC = Variant("bf16, channels_last", BF16.name, LAST)
COMPILED = Variant("compiled", NHWC.name, LAST, True)
GRAPH = Variant("compiled, CUDA graph", COMPILED.name, LAST, True, True)
LADDER = (
    EAGER,
    BF16,
    Variant("bf16, CUDA graph", BF16.name, HALF, False, True),
    NHWC,
    COMPILED,
    GRAPH,
)
BATCHED = (
    Variant("compiled, CUDA graph, batch 16", GRAPH.name, LAST, True, True, 16),
    Variant("compiled, CUDA graph, batch 4", GRAPH.name, LAST, True, True, 4),
    Variant("eager bf16, batch 16", BF16.name, HALF, batch=16),
)
VARIANTS = (*LADDER, *BATCHED)


@dataclass(frozen=True)
class Protocol:
    """Table 2's: the same clip 5 times to warm up, then 10 times.

    Attributes:
        warm, runs: how often the clip is processed, untimed and timed.
        warm_s: warm-ups go on for this long, so that the clock is up.
        run_s: a clip is as many batches as take this long, at least one.
        frames: and at most this many frames.
    """

    warm: int = 5
    runs: int = 10
    warm_s: float = 0.5
    run_s: float = 0.05
    frames: int = 16


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def timed(run: Callable[[], Any], device: str, protocol: Protocol) -> list[float]:
    """Seconds of each run: between two events on a GPU, by the clock elsewhere."""
    start, done = time.perf_counter(), 0
    while done < protocol.warm or time.perf_counter() - start < protocol.warm_s:
        run()
        synchronize(device)
        done += 1
    seconds = []
    for _ in range(protocol.runs):
        if device == "cuda":
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            run()
            last.record()
            last.synchronize()
            seconds.append(first.elapsed_time(last) / 1000)
        else:
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
    return seconds


class Graphed:
    """A CUDA graph of a step: inputs are copied into the graph's own, launches cost nothing.

    Each has a stream of its own for capture, since work spaces belong to streams and graphs that
    share one can't run side by side. The output is overwritten by the next call.
    """

    def __init__(self, step: Run, inputs: tuple[Any, Any]) -> None:
        self.inputs = tuple(x.clone() for x in inputs)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                step(*self.inputs)
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=stream):
            self.output = step(*self.inputs)

    def __call__(self, *inputs: Any) -> Any:
        """The output, which is the graph's own."""
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.graph.replay()
        return self.output


def reason(error: Exception) -> str:
    """Why a row has no numbers, in a line."""
    if isinstance(error, torch.OutOfMemoryError):
        return "out of memory"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:3])}"[:300]


class Bench:
    """Times chains of units under variants.

    Args:
        workshop: makes the nets. protocol: how often, how long.
        peak: of the device, in TFLOP/s.
    """

    def __init__(self, workshop: Workshop, protocol: Protocol, peak: float) -> None:
        self.workshop, self.protocol, self.peak = workshop, protocol, peak
        self.device = workshop.device
        self.compiled: dict[tuple[Unit, int], float] = {}
        self.gflop = cache(lambda unit: counted_gflop(unit, workshop.sizes))
        self.clip = cache(lambda unit: workshop.inputs(unit, protocol.frames))
        self.expected = cache(self._expected)

    def _expected(self, chain: tuple[Unit, ...]) -> Any:
        """What eager float32 makes of the clip's first frames."""
        step, (x, lips) = self.plain(chain, EAGER), self.clip(chain[0])
        return torch.cat([step(x[i : i + 1], lips[i : i + 1]) for i in range(COMPARED)]).float()

    def estimate_s(self, chain: tuple[Unit, ...], variant: Variant) -> float:
        """About how long a row will take."""
        if not variant.compiled:
            return EAGER_S
        slowest = max(self.compiled.values(), default=COMPILE_S)
        new = [unit for unit in chain if (unit, variant.batch) not in self.compiled]
        return EAGER_S + slowest * len(new)

    def calls(self, chain: tuple[Unit, ...], variant: Variant) -> list[Run]:
        """The chain's units as functions of a batch and its lips vectors, without a graph."""
        make = self.workshop.compiled if variant.compiled else self.workshop.step
        steps = [(self.workshop.step(u, variant.form), make(u, variant.form)) for u in chain]
        return [lambda x, lips, s=s, call=call: call(s.given(x), lips) for s, call in steps]

    def plain(self, chain: tuple[Unit, ...], variant: Variant) -> Run:
        """The whole chain as such a function."""
        calls = self.calls(chain, variant)

        def run(x: Any, lips: Any) -> Any:
            for call in calls:
                x = call(x, lips)
            return x

        return run

    def ready(self, chain: tuple[Unit, ...], variant: Variant) -> Run:
        """The chain, compiled and captured where the variant says so."""
        x, lips = inputs = tuple(t[: variant.batch] for t in self.clip(chain[0]))
        if variant.compiled:
            for unit, call in zip(chain, self.calls(chain, variant), strict=True):
                start = time.perf_counter()
                x = call(x, lips)
                synchronize(self.device)
                self.compiled.setdefault((unit, variant.batch), time.perf_counter() - start)
        step = self.plain(chain, variant)
        return Graphed(step, inputs) if variant.graph else step

    def row(self, chain: tuple[Unit, ...], variant: Variant) -> dict[str, Any]:
        """The variant's numbers, or why there are none."""
        if variant.graph and self.device != "cuda":
            return {"not_run": "CUDA graphs need CUDA"}
        try:
            with torch.no_grad():
                return self.measured(chain, variant)
        except Exception as error:  # noqa: BLE001 - whatever a compiler throws is the row's reason
            return {"failed": reason(error)}
        finally:
            gc.collect()
            if self.device == "cuda":
                torch.cuda.empty_cache()

    def measured(self, chain: tuple[Unit, ...], variant: Variant) -> dict[str, Any]:
        """The variant's numbers."""
        expected, (x, lips) = self.expected(chain), self.clip(chain[0])
        self.plain(chain, variant)  # makes the weights, which are not the row's memory
        new = [u for u in chain if variant.compiled and (u, variant.batch) not in self.compiled]
        base = self.memory(reset=True)
        step, batch = self.ready(chain, variant), variant.batch
        first = step(x[:batch], lips[:batch])
        out = first.new_empty((self.protocol.frames, *first.shape[1:]))

        def clip(frames: int) -> None:
            for i in range(0, frames, batch):
                out[i : i + batch].copy_(step(x[i : i + batch], lips[i : i + batch]))

        clip(math.ceil(COMPARED / batch) * batch)
        one = min(timed(lambda: clip(batch), self.device, Protocol(1, 2, 0.0)))
        batches = math.ceil(self.protocol.run_s / max(one, 1e-6))
        frames = batch * max(1, min(self.protocol.frames // batch, batches))
        ms = [1000 * s / frames for s in timed(lambda: clip(frames), self.device, self.protocol)]
        row = self.numbers(chain, ms)
        row |= {"frames_a_run": frames, "error": spread_error(out[:COMPARED].float(), expected)}
        if self.device == "cuda":
            row["activations_gb"] = round(self.memory() - base, 3)
        if new:
            row["compile_s"] = round(sum(self.compiled[unit, batch] for unit in new), 1)
        return row

    def memory(self, reset: bool = False) -> float:
        """GB at the peak; after a reset, GB held."""
        if self.device != "cuda":
            return 0.0
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated() / 1e9

    def numbers(self, chain: tuple[Unit, ...], ms: list[float]) -> dict[str, Any]:
        """Milliseconds a frame, frames a second, the rate of computing."""
        gflop = sum(self.gflop(unit) for unit in chain)
        tflop_per_s = gflop / median(ms)
        return {
            "gflop": round(gflop, 3),
            "ms": round(median(ms), 4),
            "ms_range": [round(min(ms), 4), round(max(ms), 4)],
            "fps": round(1000 / median(ms), 1),
            "tflop_per_s": round(tflop_per_s, 3),
            "of_peak": round(tflop_per_s / self.peak, 3),
        }


def spread_error(found: Any, expected: Any) -> float:
    """RMS difference over the expected output's own spread."""
    difference = (found - expected).square().mean().sqrt()
    return round(float(difference / (expected.std() + 1e-12)), 5)


def ceilings(device: str, side: int, copied_mb: int) -> dict[str, float]:
    """TFLOP/s of a bf16 matrix product of ``side``, TB/s (read and written) of a copy."""
    a, b = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    protocol = Protocol(runs=10, warm_s=0.3 if device == "cuda" else 0.0)
    product = median(timed(lambda: a @ b, device, protocol))
    x = torch.ones(copied_mb * 1_000_000 // 4, device=device)
    y = torch.empty_like(x)
    copy = median(timed(lambda: y.copy_(x), device, protocol))
    return {
        "bf16_tflop_per_s": round(2 * side**3 / product / 1e12, 3),
        "copy_tb_per_s": round(2 * x.numel() * 4 / copy / 1e12, 3),
    }
