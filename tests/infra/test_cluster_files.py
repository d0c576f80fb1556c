"""The cluster files: they parse, fit Ray's own schema, name our settings and 8 GPUs a node."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from infra.services import HERE, Process, free_port
from infra.settings import QUIET, REPO, VARIABLES
from infra.stack import ray_head

FOLDER = REPO / "infra" / "cluster"
FILES = sorted(FOLDER.glob("*.yaml"))
LAUNCHER = [FOLDER / f"{name}.yaml" for name in ("local", "machines", "aws")]
KUBERNETES = [FOLDER / f"kuberay_{name}.yaml" for name in ("cluster", "job")]
ON_GPUS = [path for path in FILES if path.stem != "local"]
NEEDED = (
    "FLASHLIPS_WEIGHTS", "FLASHLIPS_RUNS", "FLASHLIPS_MLFLOW_URI", "FLASHLIPS_S3_ENDPOINT",
    "FLASHLIPS_WORK", "FLASHLIPS_FRAME_CACHE", "FLASHLIPS_WORKERS", "FLASHLIPS_THREADS",
    "FLASHLIPS_GPUS",
)  # fmt: skip
named = pytest.mark.parametrize


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


def spec(path: Path) -> dict:
    """The RayCluster's spec, alone or in a job."""
    found = read(path)["spec"]
    return found.get("rayClusterSpec", found)


def pods(path: Path) -> list[dict]:
    groups = [spec(path)["headGroupSpec"], *spec(path)["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


def variables(path: Path) -> list[dict[str, str]]:
    """What each kind of node is given."""
    if path in KUBERNETES:
        return [{e["name"]: e["value"] for e in pod["containers"][0]["env"]} for pod in pods(path)]
    options = read(path)["docker"]["run_options"]
    return [dict(o[3:].split("=", 1) for o in options if o.startswith("-e "))]


def test_all_places_have_their_file():
    assert {*FILES} == {*LAUNCHER, *KUBERNETES}
    assert not list(FOLDER.glob("*.py"))


@named("path", LAUNCHER, ids=lambda p: p.stem)
def test_launcher_files_fit_rays_schema(path):
    import jsonschema
    import ray

    schema = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
    jsonschema.validate(read(path), json.loads(schema.read_text()))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_cluster_on_one_machine_has_a_head_and_two_nodes(tmp_path):
    """What its own comment says to type, on ports of the test's own."""
    port, dashboard = free_port(), free_port()
    wanted = read(FOLDER / "local.yaml")
    wanted["provider"]["gcs_address"] = f"{HERE}:{port}"
    file = tmp_path / "local.yaml"
    file.write_text(yaml.safe_dump(wanted))
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    head = ray_head(port, dashboard, {"RAY_FAKE_CLUSTER": "1", "RAY_ADDRESS": "", **token})
    options = ("--num-cpus=0", f"--autoscaling-config={file}")
    process = Process(replace(head, command=(*head.command, *options)), tmp_path)
    try:
        process.start()
        code = (
            "import ray, time; ray.init(log_to_driver=False, logging_level='ERROR')\n"
            "def cpus(): return [n['Resources'].get('CPU', 0) for n in ray.nodes() if n['Alive']]\n"
            "while sorted(cpus()) != [0, 2, 2]: time.sleep(0.5)\n"
            "print(ray.get(ray.remote(num_cpus=2)(lambda: 6 * 7).remote()))"
        )
        environment = {**os.environ, **token, "RAY_ADDRESS": f"{HERE}:{port}"}
        said = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True,
            timeout=180, check=False,
        )  # fmt: skip
        assert said.stdout.strip() == "42", said.stdout + said.stderr
    finally:
        process.stop()


@named("path", ON_GPUS, ids=lambda p: p.stem)
def test_every_variable_of_ours_is_one_that_settings_know(path):
    text = path.read_text()
    assert set(re.findall(r"FLASHLIPS_\w+", text)) <= set(VARIABLES.values())
    for env in variables(path):
        assert set(NEEDED) <= env.keys()
        quiet = {n: env[n] for n in ("RAY_USAGE_STATS_ENABLED", "DO_NOT_TRACK",
                                     "MLFLOW_DISABLE_TELEMETRY", "HF_HUB_OFFLINE")}  # fmt: skip
        assert quiet == {name: QUIET[name] for name in quiet}, "telemetry is on"


@named("path", ON_GPUS, ids=lambda p: p.stem)
def test_their_values_are_ones_that_settings_take(path):
    from infra.settings import settings

    for env in variables(path):
        found = settings({n: v for n, v in env.items() if not n.endswith(("_WORK", "_CACHE"))})
        assert found.gpus == 1
        assert found.workers % 8 == 0, "GPUs would stand idle"


@named("path", ON_GPUS, ids=lambda p: p.stem)
def test_all_nodes_run_one_image_and_no_secret_lies_in_the_file(path):
    text = path.read_text()
    images = set(re.findall(r"image: (?:&\w+ )?([^*\s]\S*)", text))
    assert images == {"registry.example.com/flashlips:cuda"}
    assert not re.search(r"(?:SECRET|TOKEN|PASSWORD)\w*(?:=|, value: )(?!\$|token)\S", text)


@named("path", KUBERNETES, ids=lambda p: p.stem)
def test_kubernetes_nodes_are_eight_h100(path):
    head, *workers = pods(path)
    assert "nvidia.com/gpu" not in json.dumps(head)
    for pod in workers:
        resources = pod["containers"][0]["resources"]
        assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == 8
        assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod[
            "tolerations"
        ]
        [shm] = [v for v in pod["volumes"] if v["name"] == "shm"]
        assert shm["emptyDir"]["medium"] == "Memory"
        assert {"name": "shm", "mountPath": "/dev/shm"} in pod["containers"][0]["volumeMounts"]
    for group in spec(path)["workerGroupSpecs"]:
        assert group["rayStartParams"]["num-gpus"] == "8"
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        wanted = int(variables(path)[0]["FLASHLIPS_WORKERS"])
        assert wanted <= 8 * group["maxReplicas"], "more workers than GPUs"
    for pod in pods(path):
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {m["name"] for m in pod["containers"][0]["volumeMounts"]} <= volumes


@named("path", KUBERNETES, ids=lambda p: p.stem)
def test_kubernetes_objects_have_what_the_operator_asks_for(path):
    from importlib.metadata import version

    found = read(path)
    assert found["apiVersion"] == "ray.io/v1"
    assert found["kind"] == ("RayJob" if path.stem.endswith("job") else "RayCluster")
    assert spec(path)["rayVersion"] == version("ray")
    assert spec(path)["authOptions"] == {"mode": "token"}
    assert all(pod["containers"][0]["envFrom"] for pod in pods(path))


def test_the_job_is_a_command_that_we_have():
    from flows.cli import parser

    words = read(FOLDER / "kuberay_job.yaml")["spec"]["entrypoint"].split()
    assert words[:3] == ["python", "-m", "flows.cli"]
    asked = parser().parse_args(words[3:])
    assert asked.engine == "ray"
    from core import recipe

    assert recipe.load(asked.recipe).stage == "reconstruction"


@named("path", FILES, ids=lambda p: p.stem)
def test_the_head_runs_no_work(path):
    if path in KUBERNETES:
        params = spec(path)["headGroupSpec"]["rayStartParams"]
        assert (params["num-cpus"], params["num-gpus"]) == ("0", "0")
        return
    found = read(path)
    if path.stem != "machines":
        assert found["available_node_types"][found["head_node_type"]]["resources"] == {"CPU": 0}
    if path.stem != "local":
        start = found["head_start_ray_commands"][-1]
        assert "--num-cpus=0" in start
        assert "--num-gpus=0" in start


def test_machines_and_amazon_have_eight_gpus_a_node():
    aws = read(FOLDER / "aws.yaml")
    node = aws["available_node_types"]["h100x8"]
    assert node["resources"] == {"CPU": 192, "GPU": 8}
    assert node["node_config"]["InstanceType"] == "p5.48xlarge"
    assert "--gpus all" in aws["docker"]["worker_run_options"]
    assert not set(aws["docker"]["run_options"]) & {"--gpus all"}, "the head has no GPU"
    machines = read(FOLDER / "machines.yaml")
    assert machines["provider"]["type"] == "local"
    assert len(machines["provider"]["worker_ips"]) == machines["max_workers"]
    assert "--num-gpus=8" in machines["worker_start_ray_commands"][-1]
    for found in (aws, machines):
        assert any(o.startswith("--shm-size") for o in found["docker"]["run_options"])
        assert "-e RAY_AUTH_MODE=token" in found["docker"]["run_options"]
