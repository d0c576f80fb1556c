"""``flashlips personalise``: adapt the generic system to one person from one clip.

The last 20 % of the clip's time is held out (``core.sample.time_split``) and measured at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError
from flows.console import Console
from flows.work import NANO, preprocess_clips, train_chain


@dataclass(frozen=True)
class Personal:
    """What personalise leaves: a system folder and the report on held-out time."""

    checkpoint: Path
    report: Path
    shards: Path


def personalise(
    clip: Path, out: Path, minutes: float = 10.0, checkpoint: Path | None = None
) -> Personal:
    """Preprocesses the clip, trains all stages from ``checkpoint``, measures held-out time.

    Args:
        clip: a video of one talking person, eight seconds or more.
        out: folder for shards, system and report.
        minutes: of training, over all stages.
        checkpoint: system to start from; the shipped nano by default.

    Raises:
        InputError: no such clip, no usable face, no minutes.
    """
    from flows.measure import evaluate_system
    from training.recipes.flashlips import personalise as stages

    if minutes <= 0:
        raise InputError(f"--minutes {minutes:g} must be more than 0")
    if not clip.is_file():
        raise InputError(f"no file {clip}: name a video of one talking person")
    console = Console()
    source = _only(clip, out / "clip")
    shards = out / "shards"
    console.say(f"personalise {clip.name}: clip to shards")
    preprocess_clips("folder", source, shards, console=console)
    console.say(f"train four stages, {minutes:g} minutes in all")
    train_chain(stages(minutes), shards, out / "system", checkpoint or NANO, console=console)
    console.say("measure on held-out time")
    report = evaluate_system(
        shards, out / "system", out / "report", title=f"personalised: {clip.stem}"
    )
    return Personal(out / "system", report, shards)


def _only(clip: Path, folder: Path) -> Path:
    """A folder that holds nothing but a link to the clip."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    (folder / clip.name).symlink_to(clip.resolve())
    return folder
