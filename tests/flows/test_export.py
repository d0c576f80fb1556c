"""An exported system is whole, opens without any engine, and edits as the one it was made from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.clip import content_hash
from core.errors import InputError
from core.files import read_json
from core.weights import Store
from flows.cli import main
from flows.export import export
from flows.work import NANO
from inference.load import load
from models.flashlips.bundle import FlashLips
from tests.toy import person

REPO = Path(__file__).resolve().parents[2]
ALONE = """
import sys
from pathlib import Path
for name in ("ray", "prefect", "mlflow"):
    sys.modules[name] = None  # importing it raises
import numpy as np
from core.weights import Store
from inference.load import load
loaded = load(Path(sys.argv[1]), Store(tuple(Path(text) for text in sys.argv[4:])))
crops = np.load(sys.argv[2])
session = loaded.prepare(crops[:4], np.sin(np.arange(16_000) / 9).astype(np.float32), 3)
np.save(sys.argv[3], session.edit(crops, np.arange(len(crops)) / 25))
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "nano"
    assert main(["export", str(NANO), "--out", str(out)]) == 0
    return out


def test_it_holds_all_that_is_ours_and_says_what_it_is(exported):
    config = read_json(exported / "config.json")
    found = {p.relative_to(exported).as_posix() for p in exported.rglob("*") if p.is_file()}
    assert found == {*config["files"], "config.json"}
    assert "codec/slim/weights.safetensors" in found
    for name, facts in config["files"].items():
        assert content_hash(exported / name) == facts["sha256"]
    assert "face_landmark" in config["pretrained"]
    card = (exported / "README.md").read_text()
    for words in (
        "people who agreed", "Intended use", read_json(NANO / "lips_change" / "card.json")["data"],
        read_json(NANO / "distillation" / "card.json")["recipe_sha"], "held_out.error", "VGG",
    ):  # fmt: skip
        assert words in card, words
    assert not list(exported.parent.glob(".*")), "halves were left"


def test_it_opens_without_engines_and_gives_the_same_crops(exported, store, tmp_path):
    crops = person("anna", 0)["crop"][:12]
    np.save(tmp_path / "crops.npy", crops)
    # Somewhere else, away from the run that it was made from.
    moved = shutil.copytree(exported, tmp_path / "moved")
    subprocess.run(
        [sys.executable, "-c", ALONE, str(moved), str(tmp_path / "crops.npy"),
         str(tmp_path / "edited.npy"), *map(str, store.folders)],
        check=True, cwd=REPO, env={**os.environ, "PYTHONPATH": str(REPO)},
    )  # fmt: skip
    sound = np.sin(np.arange(16_000) / 9).astype(np.float32)
    session = load(NANO, store).prepare(crops[:4], sound, 3)
    assert np.array_equal(np.load(tmp_path / "edited.npy"), session.edit(crops, np.arange(12) / 25))


def test_its_own_codec_is_the_one_that_is_used(exported, tmp_path):
    moved = shutil.copytree(exported, tmp_path / "moved")
    FlashLips(moved, Store(()))
    (moved / "codec" / "slim" / "weights.safetensors").write_bytes(b"no tensors")
    with pytest.raises(InputError, match="codec"):
        FlashLips(moved, Store(()))


def test_what_can_not_be_exported_is_one_sentence_and_leaves_nothing(exported, tmp_path, capsys):
    half = shutil.copytree(NANO, tmp_path / "half")
    (half / "lips_change" / "card.json").unlink()
    (half / "lips_change" / "state").mkdir()
    for system, out, says in (
        (half, tmp_path / "out", "lips_change of"),
        (tmp_path / "nobody", tmp_path / "out", "no checkpoint folder"),
        (NANO / "reconstruction", tmp_path / "out", "is not finished"),
        (NANO, exported, "is there already"),
    ):
        before = sorted(tmp_path.rglob("*"))
        assert main(["export", str(system), "--out", str(out)]) == 2
        error = capsys.readouterr().err
        assert says in error
        assert error.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(InputError, match="No space left"):
        export(NANO, tmp_path / "out")
    assert not list(tmp_path.iterdir())
