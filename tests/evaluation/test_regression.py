"""A system got worse only where the paired interval says so."""

from __future__ import annotations

import numpy as np

from evaluation.regression import FEWEST, comparison

DIRECTIONS = {"lip_score": "higher", "lmd": "lower", "fps": "neither"}


def result(videos: dict[str, dict[str, float]], clips: str = "abc") -> dict:
    names = sorted({n for numbers in videos.values() for n in numbers})
    values = {n: float(np.mean([v[n] for v in videos.values() if n in v])) for n in names}
    return {
        "benchmark": "cross_audio@1",
        "manifest": {"hash": clips},
        "directions": DIRECTIONS,
        "values": values,
        "videos": videos,
    }


def videos(count: int = 12, seed: int = 0, **changes: float) -> dict[str, dict[str, float]]:
    """Videos that differ much from each other; ``changes`` shift a number of all alike."""
    rng = np.random.default_rng(0)
    noise = np.random.default_rng(seed)
    start = {"lip_score": 5.0, "lmd": 2.0, "fps": 25.0}
    return {
        f"v{i:02d}": {
            name: value * rng.uniform(0.5, 1.5) + changes.get(name, 0.0) + noise.normal(0, 0.05)
            for name, value in start.items()
        }
        for i in range(count)
    }


def test_worse_beyond_the_interval_is_named_with_its_change():
    found = comparison(result(videos()), result(videos(seed=1, lip_score=-0.5, lmd=0.5)))
    assert set(found.worse) == {"lip_score", "lmd"}
    assert abs(found.worse["lip_score"].value + 0.5) < 0.1
    assert found.sentence().startswith("lip_score -0.49")
    assert found.sentence().count("worse") == 2


def test_better_is_not_worse():
    found = comparison(result(videos()), result(videos(seed=1, lip_score=0.5, lmd=-0.5)))
    assert not found.worse
    assert found.sentence() == ""


def test_noise_names_nothing():
    named = [comparison(result(videos()), result(videos(seed=s))).worse for s in range(1, 9)]
    # Two numbers, eight draws, 2.5 % each: less than one false alarm is expected.
    assert sum(bool(worse) for worse in named) <= 2


def test_numbers_without_a_direction_are_never_worse():
    assert not comparison(result(videos()), result(videos(seed=1, fps=-20.0))).worse


def test_a_metric_that_only_one_result_has_is_said():
    before, after = videos(), videos(seed=1)
    for numbers in after.values():
        del numbers["lmd"]
    assert comparison(result(before), result(after)).notes == ("lmd is not measured any more",)
    assert comparison(result(after), result(before)).notes == ("lmd is new",)


def test_videos_that_failed_now_are_said():
    after = videos(seed=1)
    del after["v03"]
    assert comparison(result(videos()), result(after)).notes == (
        "1 videos were measured before and not now: v03",
    )


def test_a_handful_of_videos_calls_nobody_worse():
    few = FEWEST - 1
    found = comparison(result(videos(few)), result(videos(few, lip_score=-3.0)))
    assert not found.worse
    assert str(FEWEST) in found.notes[0]
    assert comparison(result(videos(FEWEST)), result(videos(FEWEST, lip_score=-3.0))).worse


def test_other_videos_are_not_compared():
    found = comparison(result(videos()), result(videos(lip_score=-3.0), clips="def"))
    assert not found.worse
    assert "other videos" in found.notes[0]
