"""Where things run: the only reader of environment variables in the project.

What to run is a recipe; where to run is here. Every variable starts with ``FLASHLIPS_``.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import InputError
from core.storage import S3, Place, place
from core.weights import Store

REPO = Path(__file__).resolve().parent.parent
VARIABLES = {
    "weights": "FLASHLIPS_WEIGHTS",
    "runs": "FLASHLIPS_RUNS",
    "mlflow_uri": "FLASHLIPS_MLFLOW_URI",
    "workers": "FLASHLIPS_WORKERS",
    "threads": "FLASHLIPS_THREADS",
    "gpus": "FLASHLIPS_GPUS",
    "backend": "FLASHLIPS_BACKEND",
    "s3_endpoint": "FLASHLIPS_S3_ENDPOINT",
    "s3_patience": "FLASHLIPS_S3_PATIENCE",
    "work": "FLASHLIPS_WORK",
    "frame_cache": "FLASHLIPS_FRAME_CACHE",
    "cluster": "RAY_ADDRESS",
}
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # Ray's and Prefect's own lines drown the demo's progress.
    "RAY_DEDUP_LOGS": "1",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    # Twenty seconds, its default, are too few for a busy laptop.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "GIT_PYTHON_REFRESH": "quiet",
    "TOKENIZERS_PARALLELISM": "false",
    # Threads that spin long while they wait slow a shared machine down tenfold; ones that never
    # spin lose a third of their speed on a quiet one.
    "GOMP_SPINCOUNT": "1000",
}
PASSED_ON = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION",
    "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3", "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_RESPONSE_CHECKSUM_VALIDATION", "MLFLOW_S3_ENDPOINT_URL", "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN",
)  # fmt: skip
"""What a job on a cluster needs beside our own variables to reach storage and MLflow."""
NOISY = ("alembic", "mlflow", "httpx", "httpcore", "fsspec", "matplotlib", "PIL", "numexpr")


@dataclass(frozen=True)
class Settings:
    """Resolved settings.

    Attributes:
        weights: weights folders, searched in order; ``fetch`` writes into the first.
        runs: folder of runs: checkpoints, reports, tracking.
        tracking: MLflow's address, "" for the default: ``mlflow.db`` in ``runs``.
        workers: Ray Train workers.
        threads: threads that one process may use for computing.
        gpus: GPUs of a Ray Train worker; None is one where there are any, else none.
        backend: what runs the nets that edit frames: a key of ``models.backends.BACKENDS``, or
            ``auto`` for the fastest that can be used here.
        frame_cache: folder where training unpacks shards; None unpacks them in memory.
        cluster: address of a running Ray; "" (or "local") starts one here. Ray sets it inside a
            submitted job.
        s3: how ``s3://`` places are reached; credentials are the usual AWS variables'.
    """

    weights: tuple[Path, ...] = (REPO / "weights",)
    runs: Path = Path("runs")
    tracking: str = ""
    workers: int = 1
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    gpus: int | None = None
    backend: str = "auto"
    frame_cache: Path | None = None
    cluster: str = ""
    s3: S3 = field(default_factory=S3)

    def __post_init__(self) -> None:
        for name in ("workers", "threads"):
            if getattr(self, name) < 1:
                raise InputError(f"{VARIABLES[name]}={getattr(self, name)}: must be 1 or more")
        if self.gpus not in (None, 0, 1):
            raise InputError(f"{VARIABLES['gpus']}={self.gpus}: must be 0 or 1, GPUs of a worker")
        if not self.weights:
            raise InputError("no weights folder: name at least one in FLASHLIPS_WEIGHTS")
        if self.runs.exists() and not self.runs.is_dir():
            raise InputError(f"{VARIABLES['runs']}={self.runs} is a file: name a folder")
        if self.tracking and "://" not in self.tracking:
            raise InputError(
                f"{VARIABLES['mlflow_uri']}={self.tracking!r}: must be an address such as "
                "sqlite:///runs/mlflow.db or http://host:5000"
            )
        if self.s3.endpoint and not self.s3.endpoint.startswith(("http://", "https://")):
            raise InputError(
                f"{VARIABLES['s3_endpoint']}={self.s3.endpoint!r}: must be an address such as "
                "http://host:9000"
            )
        if self.s3.patience_s < 0:
            raise InputError(f"{VARIABLES['s3_patience']}={self.s3.patience_s}: must be 0 or more")

    @property
    def mlflow_uri(self) -> str:
        """MLflow's tracking address."""
        return self.tracking or f"sqlite:///{(self.runs / 'mlflow.db').resolve()}"

    @property
    def artifacts(self) -> Path:
        """Folder of MLflow's artifacts when the tracking address is the default."""
        return (self.runs / "mlartifacts").resolve()

    def store(self) -> Store:
        """The weights on disk."""
        return Store(self.weights)

    def place(self, text: str | Path) -> Place:
        """A folder, or ``s3://bucket/prefix``, from what a person wrote.

        Raises:
            InputError: another kind of address.
        """
        return place(text, self.s3)

    def describe(self) -> list[dict[str, str]]:
        """One row a setting: name, value, the variable that changes it."""
        values = {
            "weights": os.pathsep.join(str(folder) for folder in self.weights),
            "runs": str(self.runs),
            "mlflow_uri": self.mlflow_uri,
            "workers": str(self.workers),
            "threads": str(self.threads),
            "gpus": "one where there are any" if self.gpus is None else str(self.gpus),
            "backend": self.backend,
            "s3_endpoint": self.s3.endpoint or "Amazon S3",
            "s3_patience": f"{self.s3.patience_s:g} s",
            "work": str(self.s3.work),
            "frame_cache": str(self.frame_cache or "in memory"),
            "cluster": self.cluster or "here",
        }
        return [
            {"name": name, "value": value, "variable": VARIABLES[name]}
            for name, value in values.items()
        ]


def settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment.

    Args:
        environment: variables to read instead of the process's own.

    Raises:
        InputError: a variable has a value that can't be used.
    """
    env = os.environ if environment is None else environment
    cache = env.get(VARIABLES["frame_cache"], "")
    extra = [text for text in env.get(VARIABLES["weights"], "").split(os.pathsep) if text]
    return Settings(
        weights=(REPO / "weights", *(Path(text).expanduser() for text in extra)),
        runs=Path(env.get(VARIABLES["runs"], "") or "runs").expanduser(),
        tracking=env.get(VARIABLES["mlflow_uri"], ""),
        workers=_whole(env, "workers", 1),
        threads=_whole(env, "threads", os.cpu_count() or 1),
        gpus=_whole(env, "gpus", 0) if env.get(VARIABLES["gpus"]) else None,
        backend=env.get(VARIABLES["backend"], "") or "auto",
        frame_cache=Path(cache).expanduser().resolve() if cache else None,
        cluster=_cluster(env),
        s3=S3(
            endpoint=env.get(VARIABLES["s3_endpoint"], ""),
            patience_s=float(_whole(env, "s3_patience", 120)),
            # Absolute, because Ray's workers stand in another folder.
            work=Path(env.get(VARIABLES["work"], "") or "runs/work").expanduser().resolve(),
        ),
    )


def for_job(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables that are set here and hold on a cluster too; secrets are among them.

    Args:
        environment: variables to read instead of the process's own.
    """
    env = os.environ if environment is None else environment
    # Inside a job Ray names its own cluster.
    names = [name for key, name in VARIABLES.items() if key != "cluster"]
    return {name: env[name] for name in (*names, *PASSED_ON) if env.get(name)}


def ray_token(environment: Mapping[str, str] | None = None) -> str:
    """The token of a Ray cluster that the environment names; "" for none.

    Args:
        environment: variables to read instead of the process's own.

    Raises:
        InputError: the file that should hold it can't be read.
    """
    env = os.environ if environment is None else environment
    path = env.get("RAY_AUTH_TOKEN_PATH", "")
    token = env.get("RAY_AUTH_TOKEN", "")
    if token or not path:
        return token.strip()
    try:
        return Path(path).expanduser().read_text().strip()
    except OSError as error:
        raise InputError(
            f"RAY_AUTH_TOKEN_PATH={path}: {error.strerror}; name the file with the cluster's token"
        ) from error


def _cluster(env: Mapping[str, str]) -> str:
    given = env.get(VARIABLES["cluster"], "")
    return "" if given == "local" else given


def _whole(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(VARIABLES[name], "")
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{VARIABLES[name]}={text!r}: must be a whole number") from None


def quiet() -> None:
    """Switches telemetry off and quiets libraries.

    Call it before ray, prefect or mlflow are imported. What the environment already says is kept.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
