"""The page of ``data inspect``: pictures of what was kept and of what was dropped."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from core.errors import InputError
from core.sample import Sample
from core.shards import ByKey
from core.storage import Place
from preprocessing.inspect import BINS, Found, Histogram

TEMPLATES = Path(__file__).parent / "templates"
PICTURES = 48
"""Thumbnails of each kind: as many as one looks at; a page stays below 2 MB."""
HEIGHT = 128
WIDEST = 256


def html(found: Found, shards: Sequence[Place], source: Path | None = None) -> str:
    """The page; it needs no other file.

    Args:
        found: what ``look`` gave.
        shards: the same shards, for pictures of kept clips.
        source: root of the raw clips, for pictures of dropped ones; as noted by the run if None.
    """
    noted = Path(found.source) if found.source else None
    root = source or noted
    return _template().render(
        found=found,
        kept=[_kept(sample) for sample in spread(ByKey(shards))],
        dropped=[_dropped(row, root) for row in _mixed(found.rows)],
        left_out=max(0, sum(row["outcome"] != "ok" for row in found.rows) - PICTURES),
        histograms=[(name, _heights(h)) for name, h in found.facts.items()],
        bins=BINS,
    )


def spread(samples: ByKey, most: int = PICTURES) -> list[Sample]:
    """Samples spread evenly over the shards, with what a picture needs."""
    count = len(samples.keys)
    at = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
    found = []
    for key in (samples.keys[i] for i in at):
        field = "crop" if "crop" in samples.names(key) else "video"
        found.append(samples.read(key, (field,)))
    return found


def frame_of(sample: Sample) -> np.ndarray | None:
    """A frame of a sample's crop or video, (H, W, 3) uint8 RGB; None where it has neither."""
    if "crop" in sample and len(sample["crop"]):
        frame: np.ndarray = sample["crop"][len(sample["crop"]) // 2]
        return frame
    if "video" in sample:
        from core.media.video import iterate_mp4

        return next(iterate_mp4(sample["video"]), None)
    return None


def _kept(sample: Sample) -> dict[str, Any]:
    info = sample["info"]
    return {
        "uri": thumbnail(frame_of(sample)),
        "title": str(info.get("speaker", sample["key"])),
        "note": f"{info.get('source', '')} from frame {info.get('first_frame', 0)}",
        "facts": _words(info.get("facts", {})),
    }


def _mixed(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Dropped inputs, every reason in its turn, so that a rare one is seen too."""
    by_reason: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["outcome"] != "ok":
            by_reason[row["step"], row["reason"].partition(":")[0]].append(row)
    turns = max((len(group) for group in by_reason.values()), default=0)
    mixed = [group[i] for i in range(turns) for group in by_reason.values() if i < len(group)]
    return sorted(mixed[:PICTURES], key=lambda row: (row["step"], row["reason"]))


def _dropped(row: Mapping[str, Any], root: Path | None) -> dict[str, Any]:
    value, threshold = row["value"], row["threshold"]
    against = "" if value is None else f" ({value:.4g} against {threshold or 0:.4g})"
    frame = None if row["outcome"] == "duplicate" else _frame(row, root)
    return {
        "uri": thumbnail(frame),
        "title": f"{row['step']}: {row['reason']}{against}",
        "note": row["source"],
        "facts": _words(json.loads(row["facts"])),
    }


def _frame(row: Mapping[str, Any], root: Path | None) -> np.ndarray | None:
    """A frame in the middle of a dropped input, or None where its file can't be opened."""
    from core.media.video import probe, read_frames

    if root is None:
        return None
    path = root if root.is_file() else root / str(row["source"])
    try:
        start, end = row["start_s"] or 0.0, row["end_s"]
        end = probe(path).duration_s if end is None else end
        for at in ((start + end) / 2, start):
            for _, frame in read_frames(path, at, end):
                return frame
    except (InputError, OSError, ValueError):
        return None
    return None


def thumbnail(frame: np.ndarray | None) -> str:
    """A frame (H, W, 3 uint8 RGB) as a data URI, ``HEIGHT`` pixels high; "" for none."""
    import cv2

    if frame is None:
        return ""
    height, width = frame.shape[:2]
    scale = min(HEIGHT / height, WIDEST / width)
    extent = max(1, round(width * scale)), max(1, round(height * scale))
    return jpeg(cv2.resize(frame, extent, interpolation=cv2.INTER_AREA))


def jpeg(picture: np.ndarray) -> str:
    """A picture (H, W, 3 uint8 RGB) as a data URI."""
    import cv2

    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])
    assert done, f"no JPEG of {picture.shape}"
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _words(facts: Mapping[str, Any]) -> str:
    return "\n".join(f"{name} {value}" for name, value in sorted(facts.items()))


def _heights(h: Histogram) -> dict[str, Any]:
    most = max(1, int((h.kept + h.dropped).max()))
    return {
        "low": f"{h.low:.4g}",
        "high": f"{h.high:.4g}",
        "middle": f"{h.middle:.4g}",
        "bars": [
            {"kept": 100 * k / most, "dropped": 100 * d / most, "counts": f"{k} kept, {d} dropped"}
            for k, d in zip(h.kept.tolist(), h.dropped.tolist(), strict=True)
        ],
    }


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("inspect.html.jinja")
