"""Doctor's checks of this machine: variables, weights, GPU, disk, packages, shared memory."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

from core.weights import REGISTRY
from infra.doctor import LIMIT_S, Row
from infra.settings import REPO, VARIABLES, Settings, unknown

LEAST_DISK_GB = 5.0
"""A run's states, pictures and shards of an hour of clips need about that."""
LEAST_SHM_GB = 2.0
"""Below this Ray moves its objects to the disk and says so at every start."""
SHM = Path("/dev/shm")
HASHED_A_SECOND = 50e6
"""Bytes, on a slow disk; only used to know when to give up."""
INSTALL = "pip install -c constraints.txt -e '.[dev]'"


def variables(settings: Settings) -> list[Row]:
    """No variable is misspelt; the settings themselves were valid, or nobody would be here."""
    odd = unknown()
    if odd:
        return [Row("settings", "warn", f"no such setting: {', '.join(odd)}", "flashlips settings")]
    return [Row("settings", "ok", "valid; 'flashlips settings' shows them")]


def weights(settings: Settings) -> list[Row]:
    """Each registered weight is here and has its hash; a row for each that is not."""
    found = settings.store().status()
    fine = [row["name"] for row in found if row["state"] == "ok"]
    state = {"missing": "missing", "damaged": "broken"}
    rows = [Row("weights", "ok", f"{len(fine)} of {len(found)} here, hashes right")] if fine else []
    return rows + [
        Row(f"weight {row['name']}", state[row["state"]], row["what"], row["remedy"])  # type: ignore[arg-type]
        for row in found
        if row["state"] != "ok"
    ]


def weights_limit_s(settings: Settings) -> float:
    """How long hashing what is here may take."""
    store = settings.store()
    size = sum(weight.bytes for name, weight in REGISTRY.items() if store.has(name))
    return LIMIT_S + size / HASHED_A_SECOND


def gpu(settings: Settings) -> list[Row]:
    """Torch sees a GPU, or there is none."""
    import torch

    driver = _driver()
    if not torch.cuda.is_available():
        if not driver:
            return [Row("gpu", "ok", "none: CPU")]
        found = f"a GPU is here (driver {driver}), torch {torch.__version__} does not see it"
        remedy = "install torch for CUDA from an index that fits the driver"
        return [Row("gpu", "warn", found, remedy)]
    rows = []
    for i in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(i)
        text = f"{torch.cuda.get_device_name(i)}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free"
        about = f"{text}, CUDA {torch.version.cuda}, driver {driver or 'unknown'}"
        rows.append(Row(f"gpu {i}", "ok", about))
    return rows


def _driver() -> str:
    """Version of NVIDIA's driver, "" without one."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=LIMIT_S - 1)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else ""


def disk(settings: Settings) -> list[Row]:
    """Folders that runs write to have room and may be written."""
    places = {"runs": settings.runs, "work": settings.s3.work}
    if settings.frame_cache is not None:
        places["frame_cache"] = settings.frame_cache
    return [_room(name, path) for name, path in places.items()]


def _room(name: str, path: Path) -> Row:
    there = next(p for p in (path.resolve(), *path.resolve().parents) if p.exists())
    other = f"name another folder in {VARIABLES[name]}"
    if not os.access(there, os.W_OK):
        return Row(f"disk {name}", "broken", f"{there} can't be written", other)
    free = shutil.disk_usage(there).free / 1e9
    found = f"{path}: {free:.0f} GB free"
    if free < LEAST_DISK_GB:
        return Row(f"disk {name}", "warn", found, f"make room, or {other}")
    return Row(f"disk {name}", "ok", found)


def packages(settings: Settings) -> list[Row]:
    """What the project needs is installed, in the versions that were tested together."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    needed = [re.split(r"[\[;<>=! ]", line)[0] for line in project["dependencies"]]
    lines = (REPO / "constraints.txt").read_text().splitlines()
    wanted = dict(line.split("==") for line in lines if "==" in line)
    # Where a package has no build for a machine, its line says so behind a semicolon.
    here = [n for n, line in zip(needed, project["dependencies"], strict=True) if ";" not in line]
    return versions(wanted, here)


def versions(wanted: dict[str, str], needed: list[str]) -> list[Row]:
    """Installed packages beside their pins.

    Args:
        wanted: version by name; those that are not installed don't matter.
        needed: names that must be there.
    """
    absent = [name for name in needed if _installed(name) is None]
    if absent:
        return [Row("packages", "broken", f"not installed: {', '.join(absent)}", INSTALL)]
    pairs = [(name, pin, _installed(name)) for name, pin in wanted.items()]
    # 2.13.0+cpu is 2.13.0, built for a CPU.
    odd = [f"{n} {v} (tested: {p})" for n, p, v in pairs if v and v.partition("+")[0] != p]
    if odd:
        more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
        return [Row("packages", "warn", ", ".join(odd[:5]) + more, INSTALL)]
    return [Row("packages", "ok", f"{sum(v is not None for *_, v in pairs)} as tested together")]


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def shared_memory(settings: Settings) -> list[Row]:
    """Ray keeps its objects in shared memory; Docker gives 64 MB of it unless asked."""
    if not SHM.is_dir():
        return [Row("shm", "ok", "this system has no /dev/shm")]
    size = shutil.disk_usage(SHM).total / 1e9
    if size < LEAST_SHM_GB:
        return [Row("shm", "warn", f"{size:.1f} GB", "give the container --shm-size=8g or more")]
    return [Row("shm", "ok", f"{size:.0f} GB")]
