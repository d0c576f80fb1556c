from __future__ import annotations

import subprocess
import sys

import pytest

from core.errors import InputError
from infra.trackers import NullTracker
from tests.training import dummy
from training import job
from training.alone import alone
from training.job import Job, run_stage, train_here
from training.loop import Watch

HOLD = (
    "import sys, time; from pathlib import Path; from training.alone import alone\n"
    "with alone(Path(sys.argv[1])): print('here', flush=True); time.sleep(600)"
)


@pytest.fixture
def other(tmp_path):
    """Another process that trains into tmp_path."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "here\n"
        yield process
        process.kill()


def test_a_second_run_is_told_and_a_killed_one_is_no_hindrance(other, tmp_path):
    with pytest.raises(InputError, match="another run trains"), alone(tmp_path, patience_s=0.2):
        pass
    other.kill()
    with alone(tmp_path, patience_s=60):
        pass


def test_a_folder_is_free_after_an_error(tmp_path):
    with pytest.raises(KeyError), alone(tmp_path / "new"):
        raise KeyError
    with alone(tmp_path / "new", patience_s=0):
        pass


def test_a_folder_that_can_not_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="choose another folder"), alone(tmp_path / "file"):
        pass


def test_who_waited_for_the_end_of_this_very_run_trains_nothing(
    shards, nothing, tmp_path, monkeypatch
):
    recipe = dummy.recipe(steps=2)
    train_here(recipe, shards, {}, tmp_path, nothing)
    monkeypatch.setattr(job, "_train", lambda *_: pytest.fail("it trained again"))
    run_stage(Job(recipe, shards, {}, tmp_path, nothing), Watch(NullTracker()), 1)
