"""The history beside a checkpoint: a step done again is told once."""

from __future__ import annotations

import json

from infra.trackers import History, NullTracker, read_history


class Notes(NullTracker):
    def __init__(self):
        self.told = []

    def metrics(self, values, step):
        self.told.append((step, dict(values)))


def test_a_step_that_is_done_again_and_comes_out_the_same_is_told_once(tmp_path):
    notes = Notes()
    before = History(tmp_path, notes)
    for step, loss in ((1, 0.5), (2, float("nan")), (3, 0.2)):
        before.metrics({"loss": loss, "samples_per_s": 10.0}, step)
    before.metrics({"held_out.error": 1.0}, 3)
    after = History(tmp_path, notes)
    for step, loss in ((2, float("nan")), (3, 0.2), (4, 0.1)):
        after.metrics({"loss": loss, "samples_per_s": 11.0}, step)
    assert [step for step, _ in notes.told] == [1, 2, 3, 3, 4]
    lines = (tmp_path / History.FILE).read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 3, 4]


def test_a_step_that_comes_out_otherwise_is_told(tmp_path):
    notes = Notes()
    History(tmp_path, notes).metrics({"loss": 0.5}, 1)
    History(tmp_path, notes).metrics({"loss": 0.6}, 1)
    assert notes.told == [(1, {"loss": 0.5}), (1, {"loss": 0.6})]


def test_half_a_line_spoils_no_other(tmp_path):
    """A full disk, or a kill, may leave half a line."""
    History(tmp_path).metrics({"loss": 0.5}, 1)
    with (tmp_path / History.FILE).open("a") as file:
        file.write('{"step": 2, "lo')
    History(tmp_path).metrics({"loss": 0.4}, 2)
    assert [(row["step"], row["loss"]) for row in read_history(tmp_path)] == [(1, 0.5), (2, 0.4)]
