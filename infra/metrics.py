"""Numbers for Prometheus: what preprocessing and training tell their watchers, on a port.

Off unless ``FLASHLIPS_METRICS_PORT`` names a port. Like tracking, it never stops a run.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from core.contracts import Numbers, Tracker
from infra.settings import Settings

LOG = logging.getLogger(__name__)

PORT = 9464
"""The one that the compose file and ``infra/prometheus`` ask."""
SPAN = 4
"""Runs side by side on a machine take the port and those after it; Prometheus asks them all."""
LOSS = "loss/"
DIRECT = ("samples_per_s", "grad_norm", "lr", "skipped_steps")


class Meter:
    """The numbers of this process.

    Args:
        registry: where they are kept; one of its own by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.clips = Counter(
            "flashlips_preprocess_clips", "inputs that are done, by what became of them",
            ["outcome"], registry=self.registry,
        )  # fmt: skip
        self.drops = Counter(
            "flashlips_preprocess_drops", "segments that were not kept, by step and reason",
            ["step", "reason"], registry=self.registry,
        )  # fmt: skip
        self.frames = Counter(
            "flashlips_preprocess_frames", "frames that were kept", registry=self.registry
        )
        self.queue = self._gauge("preprocess_queue", "inputs that wait")
        self.step = self._gauge("training_step", "steps done", "stage")
        self.loss = self._gauge(
            "training_loss", "mean of an unweighted loss term since it was told last",
            "stage", "term",
        )  # fmt: skip
        self.values = {name: self._gauge(f"training_{name}", name, "stage") for name in DIRECT}
        self.held_out = self._gauge("training_held_out", "held-out metrics", "stage", "metric")

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"flashlips_{name}", about, labels, registry=self.registry)

    def preprocessed(self, progress: Any) -> None:
        """Takes a ``preprocessing.progress.Progress``."""
        self.queue.set(progress.total - progress.done)
        row = progress.row
        if row is None:
            return
        self.clips.labels(row.outcome).inc()
        self.frames.inc(row.frames)
        parts = json.loads(row.dropped)
        if not parts and row.outcome != "ok":
            parts = [{"step": row.step, "reason": row.reason}]
        for part in parts:
            # What was caught names its file; a label must not have a value for each file.
            reason = str(part["reason"]).partition(":")[0]
            self.drops.labels(part["step"], reason).inc()

    def trained(self, stage: str, values: Numbers, step: int) -> None:
        """Takes what a training run gives its tracker."""
        self.step.labels(stage).set(step)
        for name, value in values.items():
            if name.startswith(LOSS):
                self.loss.labels(stage, name.removeprefix(LOSS)).set(value)
            elif name in self.values:
                self.values[name].labels(stage).set(value)
            else:
                self.held_out.labels(stage, name).set(value)


class Metered:
    """A training run's tracker that also counts.

    Args:
        inner: keeps everything. meter: counts. stage: of the run.
    """

    def __init__(self, inner: Tracker, meter: Meter, stage: str) -> None:
        self.inner, self.meter, self.stage = inner, meter, stage

    def params(self, values: Mapping[str, Any]) -> None:
        """Passes the recipe on."""
        self.inner.params(values)

    def metrics(self, values: Numbers, step: int) -> None:
        """Counts and passes on."""
        self.meter.trained(self.stage, values, step)
        self.inner.metrics(values, step)

    def artifact(self, path: Path, folder: str = "") -> None:
        """Passes the file on."""
        self.inner.artifact(path, folder)


def meter(settings: Settings) -> Meter | None:
    """This process's numbers, shown on a port; None where the settings name none."""
    return _shown(settings.metrics_port) if settings.metrics_port else None


def metered(tracker: Tracker, stage: str, settings: Settings) -> Tracker:
    """The tracker, with its numbers counted where the settings name a port."""
    found = meter(settings)
    return Metered(tracker, found, stage) if found else tracker


@functools.cache
def _shown(port: int) -> Meter:
    """Numbers on the first free port from this one on; once in a process."""
    found = Meter()
    for candidate in range(port, port + SPAN):
        try:
            start_http_server(candidate, registry=found.registry)
        except OSError:
            continue
        return found
    LOG.warning("ports %d to %d are taken: no numbers for Prometheus", port, port + SPAN - 1)
    return found
