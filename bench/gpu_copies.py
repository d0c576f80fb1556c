"""What of copying frames to a GPU and back hides behind editing them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from gpu_nets import Unit
from gpu_timing import Bench, Graphed, Protocol, Variant

SLOTS = 3
"""Batches under way: one comes, one is edited, one goes."""


class Copies:
    """A clip of uint8 frames in the host's memory, edited batch by batch on the GPU.

    Args:
        bench: makes the step. chain: from frames to frames. variant: with a CUDA graph.
        frames: of the clip, a multiple of the batch.
    """

    def __init__(
        self, bench: Bench, chain: tuple[Unit, ...], variant: Variant, frames: int
    ) -> None:
        self.batch = variant.batch
        self.starts = range(0, frames, self.batch)
        clip, lips = bench.workshop.inputs(chain[0], frames)
        self.on_gpu, self.lips = clip, lips
        self.host, self.back = clip.cpu(), torch.empty_like(clip, device="cpu")
        self.pinned, self.pinned_back = self.host.pin_memory(), self.back.pin_memory()
        first = (clip[: self.batch], lips[: self.batch])
        step = bench.ready(chain, replace(variant, graph=False))
        self.steps = [Graphed(step, first) for _ in range(2)]
        self.streams = [torch.cuda.Stream() for _ in range(2)]
        self.slots = [Slot(self.part(clip, 0)) for _ in range(SLOTS)]

    def part(self, tensor: Any, start: int) -> Any:
        """A batch of it."""
        return tensor[start : start + self.batch]

    def edit(self, frames: Any, start: int, step: int = 0) -> Any:
        """A batch on the GPU, edited with its lips vectors."""
        return self.steps[step](frames, self.part(self.lips, start))

    def compute_only(self) -> None:
        """Frames are on the GPU, and stay."""
        for start in self.starts:
            self.edit(self.part(self.on_gpu, start), start)

    def two_at_a_time(self) -> None:
        """Likewise, with every other batch on a second stream."""
        here = torch.cuda.current_stream()
        for stream in self.streams[:2]:
            stream.wait_stream(here)
        for number, start in enumerate(self.starts):
            with torch.cuda.stream(self.streams[number % 2]):
                self.edit(self.part(self.on_gpu, start), start, number % 2)
        for stream in self.streams[:2]:
            here.wait_stream(stream)

    def in_turn(self, host: Any, back: Any) -> None:
        """Copy, edit, copy back, and only then the next batch."""
        for start in self.starts:
            frames = self.part(host, start).to(self.lips.device)
            self.part(back, start).copy_(self.edit(frames, start))

    def copies_only(self) -> None:
        """There and back, in turn, from pinned memory, nothing edited."""
        for start in self.starts:
            frames = self.part(self.pinned, start).to(self.lips.device)
            self.part(self.pinned_back, start).copy_(frames)

    def overlapped(self) -> None:
        """Copying there, editing and copying back each on a stream, ``SLOTS`` batches under way."""
        here, (up, down) = torch.cuda.current_stream(), self.streams[:2]
        up.wait_stream(here)
        down.wait_stream(here)
        for number, start in enumerate(self.starts):
            slot = self.slots[number % SLOTS]
            with torch.cuda.stream(up):
                if number >= SLOTS:
                    up.wait_event(slot.edited)
                slot.frames.copy_(self.part(self.pinned, start), non_blocking=True)
                slot.came.record(up)
            here.wait_event(slot.came)
            if number >= SLOTS:
                here.wait_event(slot.went)
            slot.result.copy_(self.edit(slot.frames, start))
            slot.edited.record(here)
            with torch.cuda.stream(down):
                down.wait_event(slot.edited)
                self.part(self.pinned_back, start).copy_(slot.result, non_blocking=True)
                slot.went.record(down)
        here.wait_stream(up)
        here.wait_stream(down)


class Slot:
    """Where a batch waits on the GPU, before and after, and how far it has come."""

    def __init__(self, like: Any) -> None:
        self.frames, self.result = torch.empty_like(like), torch.empty_like(like)
        self.came, self.edited, self.went = (torch.cuda.Event() for _ in range(3))


def clocked(run: Callable[[], None], frames: int, protocol: Protocol) -> float:
    """Milliseconds a frame by the host's clock: median of the runs, after warm-ups."""
    seconds = []
    for _ in range(protocol.warm + protocol.runs):
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return 1000 * median(seconds[protocol.warm :]) / frames


def overlap(
    bench: Bench, chain: tuple[Unit, ...], variant: Variant, frames: int = 256
) -> dict[str, Any]:
    """Each way's milliseconds and frames a second, and what of the copying is hidden."""
    copies = Copies(bench, chain, variant, frames)
    ways = {
        "compute only": copies.compute_only,
        "compute only, two at a time": copies.two_at_a_time,
        "copies only": copies.copies_only,
        "in turn, pageable memory": lambda: copies.in_turn(copies.host, copies.back),
        "in turn, pinned memory": lambda: copies.in_turn(copies.pinned, copies.pinned_back),
        "overlapped, pinned memory": copies.overlapped,
    }
    ms = {name: clocked(run, frames, bench.protocol) for name, run in ways.items()}
    exposed = ms["in turn, pinned memory"] - ms["compute only"]
    left = ms["overlapped, pinned memory"] - ms["compute only"]
    copies.in_turn(copies.host, copies.back)
    copies.pinned_back.zero_()
    copies.overlapped()
    torch.cuda.synchronize()
    return {
        "batch": variant.batch,
        "frames": frames,
        "ways": {k: {"ms": round(v, 4), "fps": round(1000 / v, 1)} for k, v in ms.items()},
        "compute_share_in_turn": round(ms["compute only"] / ms["in turn, pinned memory"], 3),
        "hidden_share_of_copying": round(1 - left / exposed, 3) if exposed > 0 else None,
        "same_frames": bool(torch.equal(copies.back, copies.pinned_back)),
    }
