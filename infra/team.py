"""All services of a team on this machine: what needs what, credentials, up, down, variables.

Everything lies in ``services`` below the folder of runs: data, logs, credentials, ``env``.
"""

from __future__ import annotations

import fcntl
import functools
import json
import platform
import secrets
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError
from core.files import atomic, read_json
from infra import stack
from infra.services import HERE, Process, Service
from infra.settings import VARIABLES, Settings

NEEDS: dict[str, tuple[str, ...]] = {
    "s3": (),
    "postgres": (),
    "ray-head": (),
    "prefect-server": (),
    "mlflow": ("s3", "postgres"),
    "prefect-worker": ("prefect-server", "mlflow", "ray-head"),
}
"""Services in the order in which they start, each with those that come before it."""
HARD = {"prefect-worker": ("prefect-server",), "mlflow": ("s3", "postgres")}
"""Those without which a service can't be."""
POOL = "local"
Say = Callable[[str], None]
SECRETS = ("s3_key", "s3_secret", "postgres_password", "ray_token")


@dataclass(frozen=True)
class Row:
    """A service as it is.

    Attributes:
        name: of the service. address: what a person opens or a client is told.
        pid: 0 when it does not run. log: its file. trouble: why it does not run.
    """

    name: str
    address: str
    pid: int
    log: Path
    trouble: str = ""


class Team:
    """The services of one folder of runs.

    Args:
        settings: whose ``runs`` and ``ports`` they use.
    """

    def __init__(self, settings: Settings) -> None:
        self.ports = settings.ports
        self.folder = (settings.runs / "services").resolve()
        self.logs = self.folder / "logs"
        self.env_file = self.folder / "env"

    def up(self, only: Sequence[str] = (), say: Say = print) -> list[Row]:
        """Starts what does not run yet; one that fails leaves the others running.

        Args:
            only: these and what they can't be without; all when empty.
            say: told a line about each that starts.

        Returns:
            A row for each that was asked for.
        """
        with self._alone():
            names, trouble = self._asked(only, say), dict[str, str]()
            start = functools.partial(self._start, names=names, trouble=trouble, say=say)
            for wave in _waves(names):
                with ThreadPoolExecutor(len(wave)) as pool:
                    said = list(pool.map(start, wave))
                trouble.update({n: why for n, why in zip(wave, said, strict=True) if why})
            self._write_env()
        return [self._row(name, trouble.get(name, "")) for name in names]

    def down(self, say: Say = print) -> list[str]:
        """Ends what ``up`` started, the last first, and gives their names; data stays."""
        ended = []
        with self._alone():
            for name in reversed(NEEDS):
                if self._process(name).stop():
                    say(f"{name}: ended")
                    ended.append(name)
            self.env_file.unlink(missing_ok=True)
        return ended

    def running(self) -> list[str]:
        """Names of those that run."""
        return [name for name in NEEDS if self._process(name).pid]

    def variables(self, names: Iterable[str] | None = None) -> dict[str, str]:
        """What a shell needs to use some services; those that run by default."""
        names = self.running() if names is None else names
        ports, found = self.ports, dict[str, str]()
        if "s3" in names:
            found |= self._s3_variables()
            found[VARIABLES["bucket"]] = stack.BUCKET
        if "mlflow" in names:
            found[VARIABLES["mlflow_uri"]] = f"http://{HERE}:{ports.mlflow}"
        if "prefect-server" in names:
            found[VARIABLES["prefect_api"]] = self.prefect_api
        if "ray-head" in names:
            found[VARIABLES["cluster"]] = f"{HERE}:{ports.ray}"
            found["RAY_API_SERVER_ADDRESS"] = f"http://{HERE}:{ports.dashboard}"
            found |= self._ray_variables()
        return found

    @property
    def prefect_api(self) -> str:
        """Address of Prefect's API."""
        return f"http://{HERE}:{self.ports.prefect}/api"

    @functools.cached_property
    def secrets(self) -> dict[str, str]:
        """Credentials, made once at random; only their owner may read the file."""
        path = self.folder / "secrets.json"
        known: dict[str, str] = read_json(path) if path.exists() else {}
        fresh = {name: secrets.token_hex(16) for name in SECRETS if name not in known}
        if fresh:
            _write_private(path, json.dumps(known | fresh, indent=2) + "\n")
            _write_private(self._ray_token, (known | fresh)["ray_token"])
        return known | fresh

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One ``up`` or ``down`` at a time; a second one waits."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _ = self.secrets  # before threads want them
            yield

    def _write_env(self) -> None:
        lines = [f"export {k}={shlex.quote(v)}\n" for k, v in self.variables().items()]
        _write_private(self.env_file, "".join(lines))

    def _asked(self, only: Sequence[str], say: Say) -> list[str]:
        for name in only:
            if name not in NEEDS:
                raise InputError(f"no service {name!r}; there are {', '.join(NEEDS)}")
        wanted = set(only or NEEDS)
        for name in list(wanted):
            wanted |= {*HARD.get(name, ())}
        if "postgres" in wanted and not stack.has_postgres():
            wanted.remove("postgres")
            say(
                "postgres: not installed, so MLflow keeps its runs in a file; apt-get install "
                "postgresql, with its bin folder on PATH, changes that"
            )
        return [name for name in NEEDS if name in wanted]

    def _start(self, name: str, names: Sequence[str], trouble: Mapping[str, str], say: Say) -> str:
        """Starts one; gives why it could not, or ""."""
        lacking = [n for n in HARD.get(name, ()) if n in trouble]
        if lacking:
            return f"waits for {', '.join(lacking)}: mend that and run 'flashlips up' again"
        if self._process(name).pid:
            return ""
        say(f"{name}: starting")
        try:
            Process(self._service(name, names), self.logs).start()
        except InputError as error:
            return str(error)
        return ""

    def _service(self, name: str, names: Iterable[str]) -> Service:
        """What to run; ``names`` are those that will run beside it."""
        ports, folder, known = self.ports, self.folder, self.secrets
        if name == "s3":
            return stack.s3(folder / "s3", ports.s3, known["s3_key"], known["s3_secret"])
        if name == "postgres":
            return stack.postgres(folder / "postgres", ports.postgres, known["postgres_password"])
        if name == "mlflow":
            return self._mlflow("postgres" in names)
        if name == "prefect-server":
            return stack.prefect_server(folder / "prefect", ports.prefect)
        everything = self.variables([*names, *self.running()])
        if name == "prefect-worker":
            # Another team's worker on this machine has another name, for it has another server.
            worker = f"{platform.node()}-{ports.prefect}"
            return stack.prefect_worker(
                folder / "worker", self.prefect_api, POOL, everything, worker
            )
        # Ray's own address is for its clients, not for itself.
        outside = {k: v for k, v in everything.items() if not k.startswith("RAY_")}
        return stack.ray_head(ports.ray, ports.dashboard, outside | self._ray_variables())

    def _mlflow(self, postgres: bool) -> Service:
        variables, database = self._s3_variables(), f"sqlite:///{self.folder / 'mlflow.db'}"
        if postgres:
            database = stack.postgres_uri(self.ports.postgres)
            variables["PGPASSWORD"] = self.secrets["postgres_password"]
        return stack.mlflow(database, f"s3://{stack.BUCKET}/mlflow", self.ports.mlflow, variables)

    def _s3_variables(self) -> dict[str, str]:
        key, secret = self.secrets["s3_key"], self.secrets["s3_secret"]
        return stack.s3_variables(f"http://{HERE}:{self.ports.s3}", key, secret)

    def _ray_variables(self) -> dict[str, str]:
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self._ray_token)}

    @property
    def _ray_token(self) -> Path:
        return self.folder / "ray_token"

    def _process(self, name: str) -> Process:
        """To look at or to end; it can't be started."""
        return Process(Service(name, ()), self.logs)

    def _row(self, name: str, trouble: str) -> Row:
        ports = self.ports
        addresses = {
            "s3": f"http://{HERE}:{ports.s3}",
            "postgres": stack.postgres_uri(ports.postgres),
            "mlflow": f"http://{HERE}:{ports.mlflow}",
            "prefect-server": f"http://{HERE}:{ports.prefect}",
            "prefect-worker": f"pool {POOL}",
            "ray-head": f"http://{HERE}:{ports.dashboard}",
        }
        process = self._process(name)
        return Row(name, addresses[name], process.pid, process.log, trouble)


def _waves(names: Sequence[str]) -> list[list[str]]:
    """Services that may start side by side, wave after wave."""
    waves: list[list[str]] = []
    left = list(names)
    while left:
        waves.append([name for name in left if not set(NEEDS[name]) & set(left)])
        left = [name for name in left if name not in waves[-1]]
    return waves


def _write_private(path: Path, text: str) -> None:
    with atomic(path) as part:
        part.chmod(0o600)
        part.write_text(text)
