"""The command line's promise: bad input is one sentence on standard error and exit code 2."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from flows.cli import main


class Evil:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "code was run"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["preprocess", "--dataset", "nope", "--source", "{tmp}", "--out", "{tmp}/o"], "nope"),
        (["preprocess", "--dataset", "folder", "--source", "{tmp}/no", "--out", "{tmp}/o"], "no"),
        (
            ["preprocess", "--dataset", "folder", "--source", "{tmp}", "--out", "{tmp}/o",
             "--set", "colour=red"],
            "colour",
        ),
        (["preprocess", "--dataset", "folder", "--source", "{tmp}", "--out", "gs://bucket/o"],
         "gs://bucket/o"),
        (["preprocess", "--out", "{tmp}/o"], "--sidecar-of"),
        (["preprocess", "--dataset", "folder", "--source", "{tmp}", "--sidecar-of", "{tmp}",
          "--out", "{tmp}/o"], "either"),
        (["preprocess", "--sidecar-of", "{tmp}", "--out", "{tmp}/o"], "needs --recipe"),
        (["preprocess", "--sidecar-of", "{tmp}", "--out", "{tmp}/o",
          "--recipe", "preprocessing.sidecars:latents"], "manifest"),
        (["data", "inspect", "{tmp}"], "manifest"),
        (["train", "--recipe", "training.recipes.flashlips:nope", "--shards", "{tmp}",
          "--out", "{tmp}/o"], "nope"),
        (["train", "--recipe", "training.recipes.flashlips:nano_reconstruction",
          "--set", "stepz=3", "--shards", "{tmp}", "--out", "{tmp}/o"], "stepz"),
        (["train", "--recipe", "training.recipes.flashlips:nano_reconstruction",
          "--shards", "{tmp}", "--out", "{tmp}/o"], "manifest"),
        (["train", "--recipe", "training.recipes.flashlips:nano_lips_change",
          "--shards", "{tmp}", "--out", "{tmp}/o"], ""),
        (["evaluate", "--shards", "{tmp}", "--checkpoint", "{tmp}", "--out", "{tmp}/o"], "stages"),
        (["personalise", "{tmp}/no.mp4", "--out", "{tmp}/o"], "no.mp4"),
        (["personalise", "{tmp}/text.mp4", "--minutes", "0", "--out", "{tmp}/o"], "minutes"),
        (["sync", "{tmp}/no.mp4", "{tmp}/no.wav", "-o", "{tmp}/o.mp4"], "no"),
        (["demo", "--clip", "{tmp}/no.mp4"], "no.mp4"),
        (["demo", "--set", "people=3"], "people"),
        (["weights", "fetch", "nope"], "nope"),
        (["weights", "convert", "{tmp}/no.pth", "{tmp}/o.safetensors"], "no.pth"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_exit_code_two(arguments, says, tmp_path, capsys):
    (tmp_path / "text.mp4").write_text("no video")
    before = sorted(tmp_path.rglob("*"))
    assert main([a.format(tmp=tmp_path) for a in arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("flashlips: ")
    assert says in error[-1]
    assert "Traceback" not in "\n".join(error)
    left = [p for p in sorted(tmp_path.rglob("*")) if p not in before and p.is_file()]
    assert not [p for p in left if p.suffix in (".mp4", ".safetensors", ".tar")], left


def test_settings_and_status_print(capsys):
    assert main(["settings"]) == 0
    assert main(["weights", "status"]) == 0
    out = capsys.readouterr().out
    assert "FLASHLIPS_RUNS" in out
    assert "face_landmark" in out


@pytest.mark.parametrize("how", ["torch", "torch before 1.6", "pickle"])
def test_a_malicious_checkpoint_is_refused_and_runs_nothing(how, tmp_path, capsys):
    content, source = {"weight": torch.zeros(2), "evil": Evil(tmp_path / "ran")}, tmp_path / "x.pth"
    if how == "pickle":
        source.write_bytes(pickle.dumps(content["evil"]))
    else:
        torch.save(content, source, _use_new_zipfile_serialization=how == "torch")
    assert main(["weights", "convert", str(source), str(tmp_path / "x.safetensors")]) == 2
    error = capsys.readouterr().err
    assert "not a file of tensors only" in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]
