"""Numbers for Prometheus: off by default, right, and readable over HTTP."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.testing import dummy_video
from flows.console import Console
from flows.work import preprocess_clips
from infra import metrics
from infra.metrics import Meter, metered
from infra.services import free_port
from infra.settings import Settings, settings
from infra.trackers import History
from preprocessing import ledger
from preprocessing.progress import Progress


def scraped(port: int) -> dict[tuple[str, ...], float]:
    """Values by name and sorted labels, as Prometheus would read them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def port(monkeypatch):
    """A port that the settings name."""
    metrics._shown.cache_clear()
    found = free_port()
    monkeypatch.setenv("FLASHLIPS_METRICS_PORT", str(found))
    yield found
    metrics._shown.cache_clear()


@pytest.fixture
def source(tmp_path, monkeypatch) -> Path:
    """Two good clips, one that is too short and one that no decoder reads."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "preprocessing"))
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, seconds in (("a", 1.2), ("b", 1.6), ("short", 0.2)):
        dummy_video(folder / f"{name}.mp4", seconds=seconds)
    (folder / "odd.mp4").write_bytes(b"no video")
    return folder


def test_a_run_of_preprocessing_can_be_scraped(port, source, tmp_path):
    preprocess_clips("folder", source, tmp_path / "out", "cheap_chain:cheap", console=Console())
    found = scraped(port)
    assert found[("flashlips_preprocess_clips_total", "outcome=ok")] == 2
    assert found[("flashlips_preprocess_clips_total", "outcome=rejected")] == 1
    assert found[("flashlips_preprocess_queue",)] == 0
    assert found[("flashlips_preprocess_frames_total",)] == 70
    too_short = ("flashlips_preprocess_drops_total", "reason=too short", "step=probe")
    assert found[too_short] == 1
    drops = {k: v for k, v in found.items() if k[0] == "flashlips_preprocess_drops_total"}
    assert sum(drops.values()) == 2, drops
    assert not any("odd.mp4" in word for key in drops for word in key), "a label for each file"

    # What is done already is not counted again.
    preprocess_clips("folder", source, tmp_path / "out", "cheap_chain:cheap", console=Console())
    assert scraped(port)[("flashlips_preprocess_clips_total", "outcome=ok")] == 2


def test_a_training_run_s_numbers_are_shown_and_passed_on(port, tmp_path):
    tracker = metered(History(tmp_path), "reconstruction", settings())
    tracker.params({"steps": 3})
    values = {"loss/l1": 0.5, "loss/total": 1.5, "samples_per_s": 8.0, "held_out.error": 0.25}
    tracker.metrics(values, 20)
    found = scraped(port)
    stage = "stage=reconstruction"
    assert found[("flashlips_training_loss", stage, "term=l1")] == 0.5
    assert found[("flashlips_training_loss", stage, "term=total")] == 1.5
    assert found[("flashlips_training_samples_per_s", stage)] == 8.0
    assert found[("flashlips_training_step", stage)] == 20
    assert found[("flashlips_training_held_out", "metric=held_out.error", stage)] == 0.25
    assert '"loss/l1": 0.5' in (tmp_path / History.FILE).read_text()


def test_it_is_off_unless_a_port_is_named(tmp_path):
    tracker = History(tmp_path)
    assert metrics.meter(Settings()) is None
    assert metered(tracker, "reconstruction", Settings()) is tracker


def test_runs_side_by_side_take_the_next_ports_and_too_many_go_without(port, caplog):
    meters = []
    for _ in range(metrics.SPAN + 1):
        metrics._shown.cache_clear()  # as another process would
        meters.append(metrics.meter(settings()))
    for i, meter in enumerate(meters[: metrics.SPAN]):
        meter.trained("lips_change", {}, i)
        assert scraped(port + i)[("flashlips_training_step", "stage=lips_change")] == i
    assert "no numbers for Prometheus" in caplog.text
    meters[-1].trained("lips_change", {}, 1)  # and still takes them


def test_parts_of_a_kept_input_count_as_drops():
    meter = Meter()
    dropped = '[{"step": "filters", "reason": "blurred", "span_s": [0, 1]}]'
    meter.preprocessed(progress(row("ok", dropped=dropped, frames=25)))
    assert meter.registry.get_sample_value(
        "flashlips_preprocess_drops_total", {"step": "filters", "reason": "blurred"}
    ) == 1  # fmt: skip
    assert meter.registry.get_sample_value("flashlips_preprocess_frames_total") == 25


def row(outcome: str, dropped: str = "[]", frames: int = 0) -> ledger.Row:
    return ledger.Row(
        "id", "a.mp4", None, None, outcome, "", "", None, None, 2, 1, frames, "", dropped, "{}"
    )


def progress(last: ledger.Row) -> Progress:
    return Progress(1, 2, last.frames, 1.0, None, last)
