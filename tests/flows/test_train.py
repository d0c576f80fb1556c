"""``flashlips train``: a run in MLflow with its tags, and a checkpoint kept at a second place."""

from __future__ import annotations

import shutil

import pytest

from core import recipe as recipes
from core.shards import read_manifest
from flows.cli import main
from infra.revision import git_commit
from infra.settings import settings
from tests.training import dummy


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("FLASHLIPS_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def test_a_stage_is_a_tracked_run_and_its_checkpoint_is_kept(runs, tmp_path):
    from mlflow import MlflowClient

    shards, out, keep = dummy.write_clips(tmp_path / "shards"), tmp_path / "out", tmp_path / "keep"
    train = [
        "train", "--recipe", "tests.training.dummy:recipe", "--set", "steps=4",
        "--shards", str(shards), "--out", str(out), "--keep", str(keep),
    ]  # fmt: skip
    assert main(train) == 0
    weights = (out / "weights.safetensors").read_bytes()
    shutil.rmtree(out)
    assert main(train) == 0
    assert (out / "weights.safetensors").read_bytes() == weights

    client = MlflowClient(settings().mlflow_uri)
    experiment = client.get_experiment_by_name("flashlips").experiment_id
    second, first = client.search_runs([experiment])
    expected = {
        "system": "tests.training.dummy:SYSTEM",
        "stage": "first",
        "recipe_sha": recipes.sha(dummy.recipe(steps=4)),
        "data": read_manifest(shards).hash(),
        "commit": git_commit(),
    }
    assert expected.items() <= first.data.tags.items()
    assert (first.info.status, second.info.status) == ("FINISHED", "FINISHED")
    assert "loss/total" in first.data.metrics
    assert not list((runs / "tracking").glob("[!.]*")), "all was sent"
