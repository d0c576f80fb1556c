"""Where things run: the only reader of environment variables in the project.

What to run is a recipe; where to run is here. Variables of ours start with ``FLASHLIPS_``; those of
Ray, Prefect and Amazon's S3 keep their names.
"""

from __future__ import annotations

import difflib
import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import InputError
from core.storage import S3, Place, place
from core.weights import Store
from infra.addresses import Ports, hidden, ports

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
    "bucket": "FLASHLIPS_BUCKET",
    "s3_key": "AWS_ACCESS_KEY_ID",
    "s3_secret": "AWS_SECRET_ACCESS_KEY",
    "prefect_api": "PREFECT_API_URL",
    "metrics_port": "FLASHLIPS_METRICS_PORT",
    "ports": "FLASHLIPS_PORTS",
    "clips": "FLASHLIPS_CLIPS",
    "commit": "FLASHLIPS_COMMIT",
}
OF_TESTS = ("FLASHLIPS_SHARED", "FLASHLIPS_DATASETS")
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
JOB_FOLDERS = "working_dir_files"
"""Where Ray unpacks the folders that jobs bring."""
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
        s3: how ``s3://`` places are reached.
        bucket: of that server, for artifacts and for doctor to write to; "" for none.
        s3_key, s3_secret: credentials; libraries read them from the same variables.
        prefect_api: address of Prefect's API; "" lets a flow bring a server of its own.
        metrics_port: where a run shows its numbers to Prometheus; 0 shows none.
        ports: where ``flashlips up`` puts services.
        clips: folder of real clips that measurements in ``bench`` use; None for none.
        commit: what runs name as their code where there is no checkout: set by ``submit`` for a
            job, and in an image when it is built.
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
    bucket: str = ""
    s3_key: str = field(default="", repr=False)
    s3_secret: str = field(default="", repr=False)
    prefect_api: str = ""
    metrics_port: int = 0
    ports: Ports = field(default_factory=Ports)
    clips: Path | None = None
    commit: str = ""

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
        self._check_services()

    def _check_services(self) -> None:
        _web("s3_endpoint", self.s3.endpoint, "http://host:9000")
        _web("prefect_api", self.prefect_api, "http://host:4200/api")
        if not 0 <= self.metrics_port < 65536:
            raise InputError(
                f"{VARIABLES['metrics_port']}={self.metrics_port}: must be a port, or 0 for none"
            )
        if "/" in self.bucket:
            raise InputError(
                f"{VARIABLES['bucket']}={self.bucket!r}: must be a bucket's name, without s3://"
            )
        if bool(self.s3_key) != bool(self.s3_secret):
            raise InputError(
                f"{VARIABLES['s3_key']} and {VARIABLES['s3_secret']} come together: set both or "
                "neither"
            )
        if self.s3.patience_s < 0:
            raise InputError(f"{VARIABLES['s3_patience']}={self.s3.patience_s}: must be 0 or more")

    @property
    def mlflow_uri(self) -> str:
        """MLflow's tracking address."""
        return self.tracking or f"sqlite:///{(self.runs / 'mlflow.db').resolve()}"

    @property
    def fleeting(self) -> bool:
        """Whether ``runs`` lies in the folder of a Ray job, which Ray deletes after the job."""
        return JOB_FOLDERS in self.runs.resolve().parts

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
        """One row a setting: name, value, the variable that changes it; secrets are hidden."""
        values = {
            "weights": os.pathsep.join(str(folder) for folder in self.weights),
            "runs": str(self.runs),
            "mlflow_uri": hidden(self.mlflow_uri),
            "workers": str(self.workers),
            "threads": str(self.threads),
            "gpus": "one where there are any" if self.gpus is None else str(self.gpus),
            "backend": self.backend,
            "s3_endpoint": hidden(self.s3.endpoint) or "Amazon S3",
            "s3_patience": f"{self.s3.patience_s:g} s",
            "work": str(self.s3.work),
            "frame_cache": str(self.frame_cache or "in memory"),
            "cluster": hidden(self.cluster) or "here",
            "bucket": self.bucket or "none",
            "s3_key": "***" if self.s3_key else "not set",
            "s3_secret": "***" if self.s3_secret else "not set",
            "prefect_api": hidden(self.prefect_api) or "one for each flow",
            "metrics_port": str(self.metrics_port or "off"),
            "ports": str(self.ports),
            "clips": str(self.clips or "none"),
            "commit": self.commit or "the checkout's",
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
    cache, clips = (env.get(VARIABLES[name], "") for name in ("frame_cache", "clips"))
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
        bucket=env.get(VARIABLES["bucket"], "").removeprefix("s3://").rstrip("/"),
        s3_key=env.get(VARIABLES["s3_key"], ""),
        s3_secret=env.get(VARIABLES["s3_secret"], ""),
        prefect_api=env.get(VARIABLES["prefect_api"], ""),
        metrics_port=_whole(env, "metrics_port", 0),
        ports=ports(env.get(VARIABLES["ports"], ""), VARIABLES["ports"]),
        clips=Path(clips).expanduser() if clips else None,
        commit=env.get(VARIABLES["commit"], ""),
    )


def for_job(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables that are set here and hold on a cluster too; secrets are among them.

    Args:
        environment: variables to read instead of the process's own.
    """
    env = os.environ if environment is None else environment
    # Inside a job Ray names its own cluster; the others are about this machine.
    here = ("cluster", "ports", "metrics_port", "clips")
    names = [name for key, name in VARIABLES.items() if key not in here]
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


def unknown(environment: Mapping[str, str] | None = None) -> list[str]:
    """Variables that start as ours do and are none of ours, each with the likely one."""
    ours = [*VARIABLES.values(), *OF_TESTS]
    found = []
    for name in sorted(os.environ if environment is None else environment):
        if name.startswith("FLASHLIPS_") and name not in ours:
            near = difflib.get_close_matches(name, ours, 1)
            found.append(f"{name} (is it {near[0]}?)" if near else name)
    return found


def search_path(first: Path) -> str:
    """Where programs are looked for, with a folder before all others."""
    return os.pathsep.join([str(first), os.environ.get("PATH", os.defpath)])


def _web(name: str, address: str, example: str) -> None:
    if address and not address.startswith(("http://", "https://")):
        raise InputError(
            f"{VARIABLES[name]}={hidden(address)!r}: must be an address such as {example}"
        )


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
