"""Checkpoints at a second place, usually a bucket, that outlives the machine.

Training writes to its local folder as ever; states and the finished checkpoint are copied after
that. A copy's ``kept.json``, with the hash of each file, is written last: without it a folder is
half a copy and never taken.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from core.checkpoint import CARD, WEIGHTS
from core.clip import content_hash
from core.errors import InputError
from core.files import atomic, read_json, write_json
from core.storage import Place, Remote, folders, names
from infra.trackers import History
from training.checkpointing import BEST, KEPT, STATES, Identity

log = logging.getLogger(__name__)

LIST = "kept.json"
OWNER = "run.json"
BESIDE = (History.FILE, f"{BEST}/{WEIGHTS}", f"{BEST}/{CARD}", f"{BEST}/best.json")
"""What lies beside the states and goes with each of them."""
_STAGED, _FETCHED = ".keep", ".fetch"


class Keeper:
    """Copies one run's checkpoints to ``place``, and brings them back to an empty folder.

    Args:
        out: local checkpoint folder.
        place: where to keep; None keeps nothing.
        who: identity of the run.
    """

    def __init__(self, out: Path, place: Place | None, who: Identity) -> None:
        self._out, self._place, self._who = out, place, who
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Claims the place for this run and fetches what is newer there than here.

        Raises:
            InputError: the place keeps another run, or stays away longer than its patience.
        """
        if self._place is None:
            return
        owner = self._place / OWNER
        if owner.exists():
            if read_json(owner)["identity"] != self._who.sha:
                raise InputError(
                    f"{self._place} keeps a run of another recipe, data or parents: keep this one "
                    "at another prefix"
                )
        else:
            write_json(owner, {"identity": self._who.sha, "recipe_sha": self._who.recipe_sha})
        if (self._out / CARD).exists():
            return
        if (self._place / LIST).exists():
            log.info("the finished checkpoint comes from %s", self._place)
            self._bring(self._place, (*BESIDE, WEIGHTS, CARD))  # a card means all is there
            return
        here = [p.name for p in (self._out / STATES).glob("step_*")]
        for name in sorted(folders(self._place / STATES), reverse=True):
            if name <= max(here, default=""):
                return
            source = self._place / STATES / name
            if (source / LIST).exists() and self._bring(source, BESIDE, STATES + "/" + name):
                log.info("%s comes from %s", name, self._place)
                return

    def state(self, folder: Path) -> None:
        """Starts to copy a state; passes it over while one before it is still on its way."""
        if self._place is None or (self._thread is not None and self._thread.is_alive()):
            return
        staged = self._out / _STAGED
        try:
            _stage(self._out, folder, staged)
        except OSError as error:
            log.warning("%s was not kept (%s)", folder, error)
            return
        target = self._place / STATES / folder.name
        self._thread = threading.Thread(target=self._copy, args=(staged, target), name="keep")
        self._thread.start()

    def _copy(self, staged: Path, target: Place) -> None:
        assert self._place is not None
        try:
            _send(staged, target, [*(p.name for p in staged.iterdir()), *BESIDE])
            for old in sorted(folders(self._place / STATES))[:-KEPT]:
                _remove(self._place / STATES / old)
        except (InputError, OSError) as error:
            log.warning("%s was not kept (%s); the next state is tried again", target, error)
        shutil.rmtree(staged, ignore_errors=True)

    def wait(self) -> None:
        """Until the state on its way has arrived, or was given up."""
        if self._thread is not None:
            self._thread.join()

    def finish(self) -> None:
        """Copies the finished checkpoint and lets its states go.

        Raises:
            InputError: the place stays away; the local checkpoint is whole.
        """
        if self._place is None:
            return
        self.wait()
        try:
            _send(self._out, self._place, [WEIGHTS, CARD, *BESIDE])
            for old in folders(self._place / STATES):
                _remove(self._place / STATES / old)
        except InputError as error:
            raise InputError(
                f"the checkpoint in {self._out} is finished and whole, but it is not kept: {error}"
            ) from error

    def _bring(self, source: Place, single: Iterable[str], rest: str = "") -> bool:
        """Fetches a copy: ``single`` files into our folder, the rest into ``rest`` below it.

        False when it is damaged.
        """
        part = self._out / _FETCHED
        shutil.rmtree(part, ignore_errors=True)
        for name, sha in read_json(source / LIST)["files"].items():
            _get(source / name, part / name)
            if content_hash(part / name) != sha:
                log.warning("%s is damaged; not used", source / name)
                shutil.rmtree(part)
                return False
        for name in single:
            if (part / name).exists():
                (self._out / name).parent.mkdir(parents=True, exist_ok=True)
                (part / name).replace(self._out / name)
        if rest:
            (self._out / rest).parent.mkdir(parents=True, exist_ok=True)
            part.rename(self._out / rest)
        shutil.rmtree(part, ignore_errors=True)
        return True


def _stage(out: Path, state: Path, staged: Path) -> None:
    """A second name for a state's files, which outlives the state, and copies of what is beside."""
    shutil.rmtree(staged, ignore_errors=True)
    (staged / BEST).mkdir(parents=True)
    for file in state.iterdir():
        try:
            (staged / file.name).hardlink_to(file)
        except OSError:  # a disk without links
            shutil.copyfile(file, staged / file.name)
    for name in BESIDE:
        with suppress(FileNotFoundError):
            shutil.copyfile(out / name, staged / name)


def _send(folder: Path, target: Place, wanted: Iterable[str]) -> None:
    """Copies those files of a folder that exist, their list last; nothing when all are there."""
    files = sorted({name for name in wanted if (folder / name).is_file()})
    about = {"files": {name: content_hash(folder / name) for name in files}}
    if (target / LIST).exists() and read_json(target / LIST) == about:
        return
    (target / LIST).unlink(missing_ok=True)
    for name in files:
        _put(folder / name, target / name)
    write_json(target / LIST, about)


def _remove(folder: Place) -> None:
    """Removes a copy, its list first: half of it is none."""
    for name in (LIST, *names(folder), *BESIDE):
        (folder / name).unlink(missing_ok=True)
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)


def _put(file: Path, target: Place) -> None:
    if isinstance(target, Remote):
        target.upload(file)
        return
    with atomic(target) as part:
        shutil.copyfile(file, part)


def _get(source: Place, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(source, Remote):
        source.download(file)
    else:
        shutil.copyfile(source, file)
