"""``evaluate/weekly`` by a real worker: edits, measures, and says which numbers got worse."""

from __future__ import annotations

import shutil

import pytest
from safetensors.numpy import load_file, save_file

from core.files import read_json, write_json
from core.testing import talking_video
from flows.work import NANO
from infra import registry
from infra.settings import settings
from tests.flows.test_deployments import client, of, team

__all__ = ["client", "team"]
CLIPS = 6
"""So many are needed to call anything worse."""


def spoil(stage) -> None:
    """The same checkpoint, which now draws in wrong colours."""
    file, card = stage / "weights.safetensors", stage / "card.json"
    weights = load_file(file)
    weights["editor.unet.conv_out.bias"] += 1  # where latents have a deviation of 1
    save_file(weights, file)
    write_json(card, read_json(card) | {"step": 7})


@pytest.mark.slow
@pytest.mark.prefect
@pytest.mark.timeout(3600)
def test_a_worse_checkpoint_fails_the_week_and_stays_a_challenger(
    team, client, store, tmp_path, monkeypatch
):
    (tmp_path / "clips").mkdir()
    for index in range(CLIPS):
        talking_video(tmp_path / "clips" / f"{index}.mp4", index=index)

    def week():
        run = team.ask(
            "evaluate/weekly", systems=tmp_path / "systems", clips=tmp_path / "clips",
            benchmark="reconstruction@1", out=tmp_path / "out",
        )  # fmt: skip
        ended = team.ended(client, run)
        shown = {a["key"]: a["data"] for a in of(client, "artifacts", str(ended.id))}
        return ended.state, shown

    monday, tuesday = (tmp_path / "systems" / "nano" / day for day in ("monday", "tuesday"))
    shutil.copytree(NANO, monday)
    state, shown = week()
    assert state.is_completed(), state
    assert "nothing to compare it with" in shown["verdict"]
    assert "mlflow" in shown

    shutil.copytree(NANO, tuesday)
    spoil(tuesday / "lips_change")
    state, shown = week()
    assert state.is_failed(), state
    assert state.message.startswith("nano got worse on reconstruction@1: ")
    assert "mouth_psnr" in state.message

    monkeypatch.setenv("FLASHLIPS_RUNS", str(team.folder / "runs"))
    found = {a: registry.current(settings(), "nano", a) for a in ("champion", "challenger")}
    assert {alias: version.number for alias, version in found.items()} == {
        "champion": 1, "challenger": 2,
    }  # fmt: skip
