"""Dockerfile and compose file, as far as they can be checked without an engine."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from infra import metrics, stack, team
from infra.addresses import Ports
from infra.settings import QUIET, REPO, VARIABLES

COMPOSE = REPO / "infra/compose/compose.yaml"
DOCKERFILE = REPO / "infra/docker/Dockerfile"
OTHERS = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_API_SERVER_ADDRESS", "PREFECT_HOME", "PGPASSWORD"}
OTHERS |= {"MLFLOW_SERVER_ALLOWED_HOSTS", "PREFECT_UI_API_URL", "PREFECT_LOGGING_LEVEL"}
OTHERS |= {"MLFLOW_BACKEND_STORE_URI", "MLFLOW_ARTIFACTS_DESTINATION", "RCLONE_AUTH_KEY"}
FOREIGN = {"postgres", "prometheus", "grafana"}


def loaded(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def services() -> dict:
    return loaded(COMPOSE)["services"]


def test_the_compose_file_has_the_services_of_up(services):
    assert set(team.NEEDS) == set(services) - {"prometheus", "grafana"}
    for name, service in services.items():
        image = service["image"]
        ours = image.startswith("flashlips:")
        assert ours != (name in FOREIGN), image
        assert ours or re.fullmatch(r"[\w/]+:v?\d+(\.\d+)+", image), f"{image} is not pinned"
    assert services["s3"]["build"]["dockerfile"] == str(DOCKERFILE.relative_to(REPO))


def test_ports_are_those_of_up_and_open_to_this_machine_only(services):
    ports = Ports()
    wanted = {
        "s3": [ports.s3], "postgres": [ports.postgres], "mlflow": [ports.mlflow],
        "prefect-server": [ports.prefect], "ray-head": [ports.ray, ports.dashboard],
        "prefect-worker": [],
    }  # fmt: skip
    for name, expected in wanted.items():
        opened = [mapping.split(":") for mapping in services[name].get("ports", [])]
        assert [(a, int(b), int(c)) for a, b, c in opened] == [
            ("127.0.0.1", port, port) for port in expected
        ], name
        command = services[name]["command"]
        text = command if isinstance(command, str) else " ".join(command)
        asked = json.dumps([text, services[name]["healthcheck"]["test"]])
        for port in expected:
            assert re.search(rf"\b{port}\b", asked), (name, port)
    # An address in a variable names a service and its port.
    known = {name: {str(p) for p in found} for name, found in wanted.items()}
    for name, service in services.items():
        for value in service.get("environment", {}).values():
            for host, port in re.findall(r"(?:://|@)([\w-]+):(\d+)", str(value)):
                assert host == "localhost" or port in known[host], (name, value)


def test_the_how_to_names_each_port(services):
    text = (REPO / "docs/how_to/run_the_services.md").read_text()
    opened = {m.split(":")[1] for s in services.values() for m in s.get("ports", [])}
    missing = [port for port in opened if port not in text]
    assert not missing


def test_variables_are_known_to_the_settings(services):
    known = {*VARIABLES.values(), *QUIET, *OTHERS, *stack.s3_variables("", "", ""), *stack.NO_JOBS}
    for name, service in services.items():
        if name not in FOREIGN:
            assert set(service.get("environment", {})) <= known, name
    needed = {*stack.s3_variables("", "", ""), VARIABLES["mlflow_uri"], VARIABLES["bucket"]}
    for name in ("prefect-worker", "ray-head"):
        assert needed <= set(services[name]["environment"]), name
    in_image = re.findall(r"^(?:ENV| {4})\s*([A-Z_]+)=", DOCKERFILE.read_text(), re.M)
    pip = {"PIP_NO_CACHE_DIR", "PIP_DISABLE_PIP_VERSION_CHECK"}
    python = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    assert {"FLASHLIPS_RUNS", "DO_NOT_TRACK"} <= set(in_image) <= {*known, *pip, *python}


def test_secrets_come_from_outside_and_the_example_names_each():
    text = COMPOSE.read_text()
    required = set(re.findall(r"\$\{(\w+):\?", text))
    lines = (COMPOSE.parent / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert required == {name for name, value in example.items() if not value}
    assert set(re.findall(r"\$\{(\w+):-", text)) == {n for n, value in example.items() if value}
    for name in re.findall(r"(\w*(?:PASSWORD|SECRET|TOKEN|KEY)\w*): (?!['\"]?[\"$])(.+)", text):
        pytest.fail(f"a secret stands in the compose file: {name}")
    ignored = (REPO / "infra/docker/Dockerfile.dockerignore").read_text().split()
    assert {".git", "runs", "weights", "**/.env", "**/secrets.json"} <= set(ignored)


def test_each_service_says_when_it_is_well_and_waits_for_those_it_needs(services):
    for name, service in services.items():
        assert service["healthcheck"]["test"][0] == "CMD", name
        for other, when in service.get("depends_on", {}).items():
            assert other in services
            assert when == {"condition": "service_healthy"}, (name, other)
    for name, needed in team.HARD.items():
        assert set(needed) <= set(services[name]["depends_on"]), name


def test_volumes_are_named_or_exist(services):
    named = set(loaded(COMPOSE)["volumes"])
    used = set()
    for service in services.values():
        for volume in service.get("volumes", []):
            source, target, *mode = volume.split(":")
            assert target.startswith("/")
            if source.startswith("."):
                assert mode == ["ro"]
                path = (COMPOSE.parent / source).resolve()
                assert path.exists() or path == REPO / "weights", path
            else:
                used.add(source)
    assert used == named


def test_the_gpu_file_adds_to_services_that_compute(services):
    added = loaded(COMPOSE.parent / "gpu.yaml")["services"]
    assert set(added) == {"prefect-worker", "ray-head"} <= set(services)
    for service in added.values():
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}


def test_the_dockerfile_is_pinned_checked_and_nobody_s_root():
    steps = re.sub(r"\\\n", " ", DOCKERFILE.read_text())
    words = [line.split(None, 1) for line in steps.splitlines() if line and line[0] not in "# "]
    names = [name for name, _ in words]
    assert names[0] == "FROM"
    assert re.fullmatch(r"[\w./-]+:3\.1[1-9][\w.-]*", words[0][1])
    for name, rest in words:
        assert name in ("FROM", "ARG", "ENV", "RUN", "WORKDIR", "COPY", "USER", "VOLUME",
                        "HEALTHCHECK", "CMD"), name  # fmt: skip
        if name == "RUN" and "pip install" in rest and "--no-deps" not in rest:
            assert rest.count("pip install") == rest.count("-c constraints.txt"), rest
        if name == "COPY" and rest != ". .":
            assert all((REPO / path).exists() for path in rest.split()[:-1]), rest
    user = next(rest for name, rest in words if name == "USER")
    assert user not in ("root", "0")
    assert names.index("USER") < names.index("HEALTHCHECK")
    torch = next(rest for name, rest in words if name == "RUN" and "TORCH_INDEX" in rest)
    assert "--index-url ${TORCH_INDEX}" in torch
    # Torch comes before the rest, or the rest would bring another build of it.
    assert steps.index("TORCH_INDEX}") < steps.index("'.[team]'")


def test_prometheus_asks_the_ports_that_runs_take(services):
    (job,) = loaded(REPO / "infra/prometheus/prometheus.yml")["scrape_configs"]
    asked = [target for group in job["static_configs"] for target in group["targets"]]
    assert asked == [f"prefect-worker:{metrics.PORT + i}" for i in range(metrics.SPAN)]
    given = services["prefect-worker"]["environment"][VARIABLES["metrics_port"]]
    assert int(given) == metrics.PORT


def names_shown() -> set[str]:
    """Of all metrics that the exporter can show."""
    return {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in metrics.Meter().registry.collect()
    }


def test_the_dashboard_asks_only_for_metrics_that_exist_and_for_all_of_them():
    board = json.loads((REPO / "infra/grafana/dashboards/flashlips.json").read_text())
    asked = set()
    for panel in board["panels"]:
        assert panel["datasource"]["uid"] == "prometheus"
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            found = re.findall(r"flashlips_\w+", target["expr"])
            assert found, target
            asked |= set(found)
    assert asked == names_shown()
    places = [panel["gridPos"] for panel in board["panels"]]
    cells = [
        (x, y) for p in places
        for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])
    ]  # fmt: skip
    assert len(cells) == len(set(cells)), "panels overlap"
    assert max(x for x, _ in cells) < 24


def test_grafana_finds_what_is_provisioned(services):
    folder = REPO / "infra/grafana/provisioning"
    (source,) = loaded(folder / "datasources/prometheus.yaml")["datasources"]
    assert source["uid"] == "prometheus"
    inside = services["prometheus"]["ports"][0].rpartition(":")[2]
    assert source["url"] == f"http://prometheus:{inside}"
    (provider,) = loaded(folder / "dashboards/dashboards.yaml")["providers"]
    mounted = dict(v.split(":")[:2] for v in services["grafana"]["volumes"])
    boards = next(k for k, v in mounted.items() if v == provider["options"]["path"])
    assert list((COMPOSE.parent / boards).glob("*.json"))
