"""ncnn on the CPU: its Winograd convolutions need half of the multiplications of torch's.

pnnx turns a traced net into ncnn's two files, once for each net; they are kept in a folder named by
their content, and checked against torch whenever they are opened.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import logging
import shutil
import subprocess
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from models.backends import Given, Unusable
from models.experts.codec import tensors_sha

FILES = ("net.ncnn.param", "net.ncnn.bin")
LIMIT_S = 300.0

log = logging.getLogger(__name__)


class Ncnn:
    """A net in ncnn, several samples side by side, each in one thread.

    Args:
        folder: holds ``FILES``. inputs: how many tensors the net is given.
        threads: samples at once.
    """

    exact = True

    def __init__(self, folder: Path, inputs: int, threads: int) -> None:
        import ncnn

        self._library, self._inputs = ncnn, inputs
        self._net: Any = ncnn.Net()
        self._net.opt.num_threads = 1
        for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic",
                     "use_bf16_storage"):  # fmt: skip
            setattr(self._net.opt, name, False)
        for file, load in zip(FILES, (self._net.load_param, self._net.load_model), strict=True):
            if load(str(folder / file)) != 0:
                raise Unusable(f"{folder / file} can't be loaded")
        self._pool = ThreadPoolExecutor(threads, "ncnn")

    def __call__(self, *given: Tensor) -> Tensor:
        """See ``models.backends.Net``."""
        assert len(given) == self._inputs, f"{len(given)} tensors for {self._inputs}"
        arrays = [np.ascontiguousarray(g.float().numpy()) for g in given]
        count = max(len(a) for a in arrays)
        samples = ([a[0 if len(a) == 1 else i] for a in arrays] for i in range(count))
        return torch.from_numpy(np.stack(list(self._pool.map(self._one, samples))))

    def _one(self, sample: list[np.ndarray]) -> np.ndarray:
        """One sample's answer; other threads run meanwhile."""
        extractor = self._net.create_extractor()
        for index, array in enumerate(sample):
            # A copy of its own: ncnn works in place, also on memory that it only borrowed.
            extractor.input(f"in{index}", self._library.Mat(array).clone())
        code, found = extractor.extract("out0")
        assert code == 0, f"ncnn failed with {code}"
        return np.array(found)


def open_ncnn(net: nn.Module, example: Given, folder: Path, threads: int) -> Ncnn:
    """See ``models.backends.Open``.

    Raises:
        Unusable: ncnn can't take the net.
        ImportError: ncnn or pnnx is not installed.
    """
    import pnnx

    place = folder / f"ncnn-{_key(net, example)}"
    if not all((place / name).is_file() for name in FILES):
        place = _converted(net, example, place, pnnx.EXEC_PATH)
    return Ncnn(place, len(example), threads)


def _key(net: nn.Module, example: Given) -> str:
    """Names a conversion: the net's layout and weights, its inputs, and the converter."""
    parts = [str(net), tensors_sha(net.state_dict()), str([tuple(e.shape) for e in example])]
    parts += [importlib.metadata.version(name) for name in ("ncnn", "pnnx")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _converted(net: nn.Module, example: Given, place: Path, program: str) -> Path:
    """Converts a net; gives the folder of its files, ``place`` if that can be written."""
    with tempfile.TemporaryDirectory(prefix="flashlips-pnnx-") as work:
        _pnnx(net, example, Path(work), program)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            part = Path(tempfile.mkdtemp(prefix=".ncnn-", dir=place.parent))
        except OSError:
            part = place = Path(tempfile.mkdtemp(prefix="flashlips-ncnn-"))
            log.info("%s can't be written; the net is converted each time", place.parent)
        part.chmod(0o755)  # weights folders are shared
        for name in FILES:
            shutil.copyfile(Path(work) / name, part / name)
    if part != place:
        with contextlib.suppress(OSError):  # another process was faster, or left a part of it
            shutil.rmtree(place, ignore_errors=True)
            part.replace(place)
        if part.exists():
            shutil.rmtree(part)
    return place


def _pnnx(net: nn.Module, example: Given, work: Path, program: str) -> None:
    """Writes ``FILES`` into a folder."""
    with torch.inference_mode(), warnings.catch_warnings():
        # Shapes are constants from here on, as they shall be.
        warnings.simplefilter("ignore", TracerWarning)
        traced = torch.jit.trace(net, tuple(example), check_trace=False)
    torch.jit.save(traced, str(work / "net.pt"))
    shapes = ",".join("[" + ",".join(map(str, e.shape)) + "]" for e in example)
    command = [program, "net.pt", f"inputshape={shapes}", "fp16=0"]
    try:
        done = subprocess.run(
            command, cwd=work, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unusable(f"pnnx did not run ({error})") from error
    if done.returncode or not all((work / name).is_file() for name in FILES):
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unusable(f"pnnx can't convert the net ({last})")
