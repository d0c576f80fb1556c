"""The weekly flow's parts: which checkpoint is the newest, and what is accepted."""

from __future__ import annotations

import os
import shutil

from core.files import read_json, write_json
from flows.evaluate import ACCEPTED, judged, mark, newest, remember, weekly
from flows.tracking import key_in, parent_run
from flows.train import chain
from flows.work import NANO
from infra import registry
from infra.mlflow_tracker import id_of
from infra.settings import settings
from tests.evaluation.test_regression import result, videos

PAGE = "scores.json"


def trained(
    folder, when, stages=("reconstruction", "distillation", "lips_change", "audio_to_lips")
):
    for number, stage in enumerate(stages):
        (folder / stage).mkdir(parents=True)
        card = folder / stage / "card.json"
        shutil.copyfile(NANO / stage / "card.json", card)
        os.utime(card, (when + number, when + number))
    return folder


def scored(folder, name, **changes):
    found = result(videos(seed=len(name), **changes)) | {"version": 1}
    write_json(folder / name / PAGE, found)
    return folder / name / PAGE


def test_the_newest_finished_checkpoint_of_each_system(tmp_path):
    trained(tmp_path / "b" / "monday", 1000)
    tuesday = trained(tmp_path / "b" / "tuesday", 2000)
    trained(tmp_path / "b" / "today, unfinished", 3000, ("reconstruction", "distillation"))
    alone = trained(tmp_path / "a", 500)
    assert newest(tmp_path) == {"a": alone, "b": tuesday}
    assert newest(tmp_path / "nowhere") == {}


def test_another_stage_makes_another_checkpoint(tmp_path):
    one, two = trained(tmp_path / "one", 1000), trained(tmp_path / "two", 2000)
    assert mark(one) == mark(two)
    card = two / "lips_change" / "card.json"
    write_json(card, read_json(card) | {"step": 7})
    assert mark(one) != mark(two)


def test_what_is_not_worse_becomes_what_the_next_is_held_to(tmp_path):
    assert judged(tmp_path, scored(tmp_path, "a"))[1] == ""
    assert judged(tmp_path, scored(tmp_path, "bb", lip_score=1.0)) == ("not worse", "")
    assert read_json(tmp_path / ACCEPTED) == {"checkpoint": "bb"}
    assert judged(tmp_path, tmp_path / "bb" / PAGE)[0].startswith("nothing new")


def test_what_is_worse_is_named_and_not_accepted(tmp_path):
    judged(tmp_path, scored(tmp_path, "a"))
    page = scored(tmp_path, "bb", lip_score=-1.0)
    for _ in range(2):  # it stays red until somebody does something about it
        assert "lip_score" in judged(tmp_path, page)[1]
        assert read_json(tmp_path / ACCEPTED) == {"checkpoint": "a"}
    line, sentence = judged(tmp_path, page, accept=True)
    assert (line.startswith("worse and accepted"), sentence) == (True, "")
    assert read_json(tmp_path / ACCEPTED) == {"checkpoint": "bb"}


def test_flows_with_nothing_to_do_end_at_once_and_say_so(tmp_path):
    ended = weekly.fn(str(tmp_path))
    assert ended.is_completed()
    assert "holds no finished system" in ended.message
    ended = chain.fn(str(tmp_path / "shards"))
    assert ended.is_completed()
    assert "no finished shards" in ended.message


def test_the_newest_is_challenger_and_the_accepted_one_champion(tmp_path, monkeypatch):
    monkeypatch.setenv("FLASHLIPS_RUNS", str(tmp_path / "runs"))
    numbers = []
    for made, accepted in (("good", True), ("worse", False), ("worse", False)):
        card = tmp_path / made / "reconstruction" / "card.json"
        card.parent.mkdir(parents=True, exist_ok=True)
        card.write_text(f'{{"step": {len(made)}}}')
        remember("nano", tmp_path / made, "cross_audio@1", accepted)
        found = [
            registry.current(settings(), "nano", alias) for alias in ("champion", "challenger")
        ]
        numbers.append([version.number for version in found])
    assert numbers == [[1, 1], [1, 2], [1, 2]]


def test_a_jobs_run_is_found_in_mlflow_by_its_key(tmp_path, monkeypatch):
    monkeypatch.setenv("FLASHLIPS_RUNS", str(tmp_path / "runs"))
    assert id_of(settings(), key_in(tmp_path)) == ""
    run = parent_run(tmp_path, "job")
    run.close()
    assert id_of(settings(), key_in(tmp_path)) == run.run_id != ""
