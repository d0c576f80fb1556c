"""Doctor's checks of services: those that the settings name must answer."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import sqlite3
import urllib.error
import urllib.request
from contextlib import closing
from http.client import HTTPException
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from core.errors import InputError
from core.storage import S3, Remote
from infra.addresses import hidden
from infra.doctor import LIMIT_S, Row
from infra.settings import VARIABLES, Settings

TRY_S = LIMIT_S - 1.0
"""Below the check's own limit, so that the server's name stands in the row."""
AWAY = (OSError, HTTPException)
UP = "start it, such as by 'flashlips up', or correct {}"


def mlflow(settings: Settings) -> list[Row]:
    """MLflow answers, and is of our version; a database can be opened."""
    address = settings.mlflow_uri
    if address.startswith("sqlite:"):
        return [_sqlite(Path(urlsplit(address).path.removeprefix("/")).resolve(), address)]
    if address.startswith("postgresql"):
        return [_postgres(address)]
    if not address.startswith("http"):
        return [Row("mlflow", "warn", f"{hidden(address)}: not checked")]
    return [
        _versioned("mlflow", address, f"{address.rstrip('/')}/version", VARIABLES["mlflow_uri"])
    ]


def prefect(settings: Settings) -> list[Row]:
    """Prefect's API answers, is of our version, and a worker waits for flows."""
    api, variable = settings.prefect_api.rstrip("/"), VARIABLES["prefect_api"]
    if not api:
        return [Row("prefect", "ok", "none: a flow brings a server of its own")]
    row = _versioned("prefect", api, f"{api}/admin/version", variable)
    try:
        pools = json.loads(_get(f"{api}/work_pools/filter", b"{}"))
    except (*AWAY, ValueError):
        return [row]
    at_work = [p["name"] for p in pools if p.get("status") == "READY"]
    if at_work:
        return [row, Row("prefect worker", "ok", f"pool {', '.join(at_work)}")]
    start = "prefect worker start --pool local --type process"
    return [
        row,
        Row("prefect worker", "warn", "no worker waits: deployed flows stay queued", start),
    ]


def ray(settings: Settings) -> list[Row]:
    """Something listens at the cluster's address."""
    address, variable = settings.cluster, VARIABLES["cluster"]
    if not address:
        return [Row("ray", "ok", "none: a run starts a Ray of its own")]
    if address == "auto":
        return [Row("ray", "ok", "auto: Ray looks for a cluster of this machine")]
    if address.startswith("http"):
        return [_versioned("ray", address, f"{address.rstrip('/')}/api/version", variable)]
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    try:
        socket.create_connection((parts.hostname or "", parts.port or 6379), TRY_S).close()
    except (OSError, ValueError) as error:
        return [_away("ray", address, error, variable)]
    return [Row("ray", "ok", f"{address} listens")]


def s3(settings: Settings) -> list[Row]:
    """A small object can be written to the bucket, read and deleted."""
    endpoint, variable = settings.s3.endpoint, VARIABLES["s3_endpoint"]
    at = hidden(endpoint) or "Amazon S3"
    if settings.bucket:
        return [_bucket(settings, at)]
    if not endpoint:
        return [Row("s3", "ok", "none")]
    try:
        _get(endpoint)
    except urllib.error.HTTPError:
        pass  # it answers: nobody without a key is let in
    except AWAY as error:
        return [_away("s3", endpoint, error, variable)]
    remedy = f"name one in {VARIABLES['bucket']} to have writing tried"
    return [Row("s3", "ok", f"{at} answers; no bucket is named", remedy)]


def _bucket(settings: Settings, at: str) -> Row:
    # One try: what comes back later is no use to a person who asks now.
    server = S3(settings.s3.endpoint, 0.0, settings.s3.work)
    where = Remote(f"s3://{settings.bucket}/.flashlips-doctor-{secrets.token_hex(6)}", server)
    word = secrets.token_bytes(16)
    name = f"bucket {settings.bucket} at {at}"
    try:
        _put(where, word)
        same = where.read_bytes() == word
        where.unlink()
    except InputError as error:
        found, _, remedy = hidden(str(error)).partition(": ")
        return Row("s3", "broken", f"{name}: {found}", remedy)
    if not same:
        return Row("s3", "broken", f"{name}: gave other bytes than it got", "look at the server")
    return Row("s3", "ok", f"{name}: written, read, deleted")


def _put(where: Remote, data: bytes) -> None:
    from core.files import write_bytes

    write_bytes(where, data)


def _sqlite(path: Path, address: str) -> Row:
    if not path.exists():
        return Row("mlflow", "ok", f"{address}: made by the first run")
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=TRY_S)) as found:
            (runs,) = found.execute("select count(*) from runs").fetchone()
    except sqlite3.Error as error:
        remedy = f"restore it, or name another in {VARIABLES['mlflow_uri']}"
        return Row("mlflow", "broken", f"{path} is no database of MLflow ({error})", remedy)
    return Row("mlflow", "ok", f"{address}: {runs} runs")


def _postgres(address: str) -> Row:
    variable = VARIABLES["mlflow_uri"]
    try:
        import psycopg
    except ImportError:
        return Row("mlflow", "broken", "psycopg is not installed", "pip install -e '.[team]'")
    plain = "postgresql://" + address.partition("://")[2]
    try:
        psycopg.connect(plain, connect_timeout=int(TRY_S)).close()
    except psycopg.Error as error:
        return _away("mlflow", address, error, variable)
    return Row("mlflow", "ok", f"{hidden(address)} lets us in")


def _versioned(name: str, address: str, url: str, variable: str) -> Row:
    """A server that tells its version, beside the one that is installed here."""
    at = hidden(address)
    try:
        text = _get(url)
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return Row(name, "ok", f"{at} answers and wants a password or token")
        return _away(name, address, error, variable)
    except AWAY as error:
        return _away(name, address, error, variable)
    theirs = _version(text)
    ours = metadata.version(name)
    if theirs != ours:
        remedy = f"install one version on both: pip install -c constraints.txt {name}"
        return Row(name, "warn", f"{at} has {name} {theirs}, here is {ours}", remedy)
    return Row(name, "ok", f"{at}, version {theirs}")


def _version(text: str) -> str:
    try:
        said = json.loads(text)
    except ValueError:
        return text.strip()[:40]
    return str(said.get("ray_version", "?") if isinstance(said, dict) else said)


def _away(name: str, address: str, error: Exception, variable: str) -> Row:
    why = hidden(" ".join(str(error).split()))
    return Row(name, "broken", f"{hidden(address)} does not answer ({why})", UP.format(variable))


def _get(url: str, body: bytes | None = None) -> str:
    """What a page says; a password in its address goes into the header that servers read."""
    parts = urlsplit(url)
    headers = {"Content-Type": "application/json"}
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    asked = urllib.request.Request(bare, body, headers)
    with urllib.request.urlopen(asked, timeout=TRY_S) as answer:
        return str(answer.read(10_000_000).decode(errors="replace"))
