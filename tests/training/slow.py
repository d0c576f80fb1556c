"""The dummy system, slow enough to be killed: SLOW_PAUSE seconds a step, pids into SLOW_PIDS."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

from models.system import Stage
from tests.training import dummy
from training import optim


class Objective(dummy.Objective):
    """The dummy's losses after a pause. A worker's first step leaves the file ``rank`` -> pid."""

    def losses(self, batch, rng):
        folder = os.environ.get("SLOW_PIDS")
        if folder and self.calls == 0:
            (Path(folder) / str(optim.rank())).write_text(str(os.getpid()))
        time.sleep(float(os.environ.get("SLOW_PAUSE", "0")))
        return super().losses(batch, rng)


def _build(net, parents, origin, store):
    return Objective(dummy.FramePair(), **net)


SYSTEM = SimpleNamespace(name="slow", stages={"first": Stage("first", dummy.NEEDS, (), _build)})
