"""``preprocess``: a data set's raw files to a folder of shards, with a row for every input."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path

from core import recipe as recipes
from core.clip import Clip
from core.errors import InputError
from core.files import read_json, write_json
from core.sample import SCHEMA_VERSION
from core.shards import MANIFEST, Manifest, read_manifest, read_shard, write_manifest, write_shard
from core.storage import Place, Remote, absolute, local
from core.weights import Store
from preprocessing import inputs as inputs_
from preprocessing import ledger, pack, plan
from preprocessing.inputs import Input
from preprocessing.plan import Placed, Work
from preprocessing.progress import Clock, Tell
from preprocessing.recipes import PreprocessRecipe

WORK = ".work"
ENGINES = ("local", "ray")


@dataclass(frozen=True)
class _State:
    """What is kept of a finished input: found again by a rerun."""

    given: str
    row: ledger.Row
    keys: tuple[str, ...]
    seconds: Mapping[str, float]


def preprocess(
    dataset: str,
    source: Path,
    out: Place,
    recipe: str | PreprocessRecipe = "preprocessing.recipes:flashlips",
    engine: str = "local",
    store: Store | None = None,
    settings: Sequence[str] = (),
    progress: Tell | None = None,
) -> Place:
    """Turns a data set's files into shards of training samples.

    ``out`` gets ``ledger.parquet`` (a row for every input), ``summary.json``, shards, and last
    ``manifest.json``. Input files are only read. A finished ``out`` is recognised at once; a run
    that was cut short goes on where it was.

    Args:
        dataset: name of a module in ``preprocessing.datasets``, or a dotted module name.
        source: the data set's root.
        out: folder for the shards, or a prefix of a bucket.
        recipe: ``package.module:function``, or the recipe itself.
        engine: ``local`` (a for loop) or ``ray``.
        store: where weights lie; none by default.
        settings: ``key=value`` overrides of the recipe.
        progress: told after every finished input.

    Returns:
        Place of the manifest.

    Raises:
        InputError: an unknown data set, recipe, key or engine; a source without clips; a folder
            that can't be written or holds something else; a missing weight; no clip was kept.
    """
    check_engine(engine)
    wanted = resolve(recipe, settings)
    clips = inputs_.dataset(dataset)
    chain = wanted.chain(store or Store(()))
    plan.check(chain)
    listed = inputs_.listed(clips, source)
    origin = {**plan.origins(chain), "recipe": recipes.sha(wanted)}
    size, print_ = wanted.shard_mb * 1e6, inputs_.fingerprint(listed)
    run = Run(absolute(out), origin, size, print_, progress, source=str(absolute(source)))
    return run.complete(lambda: inputs_.identify(listed, run.out), chain, engine)


def check_engine(engine: str) -> None:
    """Refuses an engine that there is not."""
    if engine not in ENGINES:
        raise InputError(f"no engine {engine!r}; there are {', '.join(ENGINES)}")


def resolve(recipe: str | PreprocessRecipe, settings: Sequence[str]) -> PreprocessRecipe:
    """The recipe that was named, with overrides applied."""
    wanted = recipes.load(recipe) if isinstance(recipe, str) else recipe
    if not isinstance(wanted, PreprocessRecipe):
        raise InputError(f"recipe {recipe!r} is no recipe for preprocessing")
    return recipes.override(wanted, settings)


@dataclass(frozen=True)
class Adding:
    """What a sidecar adds to which sets.

    Attributes:
        parents: hashes of the sets it is made from.
        fields: names of its fields.
    """

    parents: tuple[str, ...]
    fields: tuple[str, ...]


@dataclass
class Run:
    """One run into ``out``, begun or gone on with. Whole clips, or a sidecar (``adding``).

    ``source``, the data set's root, is noted in the summary, for whoever wants to look at what was
    dropped.
    """

    out: Place
    origin: Mapping[str, str]
    target_bytes: float
    fingerprint: str
    progress: Tell | None
    adding: Adding | None = None
    source: str = ""

    def complete(
        self, listed: Callable[[], Iterable[Input]], chain: Sequence[Placed], engine: str
    ) -> Place:
        """Does what is left, if anything, and gives the manifest's place.

        Args:
            listed: names the inputs by content; called only when there is something to do.
            chain: the steps.
            engine: ``local`` or ``ray``.
        """
        if not self.finished():
            try:
                self.reopen()
                self.go(list(listed()), chain, engine)
            except OSError as error:  # clips' own errors never come this far
                raise InputError(
                    f"can't write below {self.out}: {error.strerror or error}; make room, then run "
                    "again"
                ) from error
        return self.out / MANIFEST

    @functools.cached_property
    def folder(self) -> Path:
        """Where finished segments wait: another recipe or schema gets another folder."""
        text = json.dumps([SCHEMA_VERSION, self.origin], sort_keys=True)
        return self._work / _digest(text)

    @property
    def _work(self) -> Path:
        """Of a bucket it is local; each ``out`` has its own."""
        if isinstance(self.out, Remote):
            return self.out.server.work.resolve() / _digest(str(self.out))
        return self.out / WORK

    def finished(self) -> bool:
        """Whether ``out`` is this very run, complete.

        Raises:
            InputError: it is complete, but of another recipe.
        """
        if not (self.out / MANIFEST).exists():
            return False
        theirs = read_manifest(self.out).origin
        if theirs != self.origin:
            odd = sorted(k for k in {*theirs, *self.origin} if theirs.get(k) != self.origin.get(k))
            raise InputError(
                f"{self.out} holds shards that were made in another way ({', '.join(odd)} differ); "
                "choose another folder, or delete that one"
            )
        summary = self.out / ledger.SUMMARY
        done = summary.exists() and read_json(summary).get("fingerprint") == self.fingerprint
        if done:
            self._sweep()
        return bool(done)

    def reopen(self) -> None:
        """Takes a finished folder back to pieces when its inputs changed: only new ones cost."""
        if (self.out / MANIFEST).exists():
            for shard in read_manifest(self.out).shards:
                for sample in read_shard(local(self.out / shard.name, shard.sha256), raw=True):
                    write_shard(pack.piece(self.folder, sample["key"]), [sample])
            (self.out / MANIFEST).unlink()

    def go(self, entries: Sequence[Input], chain: Sequence[Placed], engine: str) -> None:
        """Does what is left and writes everything, the manifest last."""
        states: list[_State | None] = [self._found(entry) for entry in entries]
        todo = [i for i, state in enumerate(states) if state is None]
        clock = Clock([e.size for e in entries], todo, self.progress)
        place = {entries[i].clip.id: i for i in todo}
        assert len(place) == len(todo), "two inputs of one id, neither a duplicate"
        for parts in self._parts([entries[i].clip for i in todo], chain, engine):
            i = place[parts[0].input]
            finished = self._finish(entries[i], parts)
            states[i] = finished
            clock.tick(i, finished.row)
        done = [state for state in states if state is not None]
        assert len(done) == len(entries), "inputs were lost on the way"
        self._close(done)

    def _found(self, entry: Input) -> _State | None:
        """What an earlier run left of this input; failures are tried again."""
        if entry.clip.drop:
            return self._state(entry, [Work(entry.clip.id, entry.clip)])
        path = self._note(entry)
        if not path.exists():
            return None
        raw = read_json(path)
        row = ledger.Row(**raw["row"])
        whole = all(pack.piece(self.folder, key).exists() for key in raw["keys"])
        if raw["given"] != entry.given or row.outcome == "failed" or not whole:
            return None
        # The name may have changed since: the same bytes elsewhere are the same input.
        row = ledger.Row(**{**raw["row"], "source": entry.name})
        return _State(raw["given"], row, tuple(raw["keys"]), raw["seconds"])

    def _note(self, entry: Input) -> Path:
        return self.folder / f"{entry.clip.id}.json"

    def _parts(
        self, clips: Sequence[Clip], chain: Sequence[Placed], engine: str
    ) -> Iterator[list[Work]]:
        """Finished inputs, each with all its parts in order of time."""
        if not clips:
            return
        if engine == "ray":
            from preprocessing.ray_runner import run
        else:
            from preprocessing.local_runner import run
        waiting: dict[str, list[Work]] = {}
        for work in run(clips, chain, self.folder):
            parts = waiting.setdefault(work.input, [])
            parts.append(work)
            if sum((part.share for part in parts), Fraction(0)) == 1:
                yield sorted(waiting.pop(work.input), key=_time)
        assert not waiting, f"parts of {sorted(waiting)} never came back"

    def _finish(self, entry: Input, parts: Sequence[Work]) -> _State:
        state = self._state(entry, parts)
        write_json(self._note(entry), asdict(state))
        return state

    def _state(self, entry: Input, parts: Sequence[Work]) -> _State:
        seconds = _added(part.seconds for part in parts)
        keys = tuple(part.clip.id for part in parts if not part.clip.drop)
        return _State(entry.given, ledger.row(entry.clip, entry.name, parts), keys, seconds)

    def _close(self, states: Sequence[_State]) -> None:
        rows = [state.row for state in states]
        order = [s for s in states if s.keys]
        if self.adding is None:  # a sidecar is in its parents' order
            # By content, not by path: the same clips in another tree give the same shards.
            order.sort(key=lambda s: s.row.id)
        keys = [key for state in order for key in state.keys]
        ledger.write(self.out / ledger.LEDGER, rows)
        summary = ledger.summary(rows, _added(state.seconds for state in states))
        told = {**summary, "fingerprint": self.fingerprint, "source": self.source}
        write_json(self.out / ledger.SUMMARY, told)
        if not keys:
            raise InputError(_nothing(rows, self.out / ledger.LEDGER))
        shards = pack.assemble(keys, self.folder, self.out, self.target_bytes)
        counts = {**summary["outcomes"], "segments": len(keys), "frames": summary["frames"]}
        manifest = Manifest(self.origin, shards, counts)
        if self.adding is not None:
            dropped = tuple(state.row.id for state in states if not state.keys)
            parents, fields = self.adding.parents, self.adding.fields
            manifest = replace(manifest, parents=parents, fields=fields, dropped=dropped)
        write_manifest(self.out, manifest)
        self._sweep()

    def _sweep(self) -> None:
        """Lets go of what the shards hold now; notes stay, for a rerun with more inputs."""
        halves = [*self.folder.glob(".*.part*")]  # of killed runs
        if isinstance(self.out, Path):
            halves += self.out.glob(".*.part*")
        for path in [*self.folder.glob("*.tar"), *halves]:
            path.unlink(missing_ok=True)
        shutil.rmtree(self.folder / pack.SHARDS, ignore_errors=True)
        for other in self.folder.parent.iterdir() if self.folder.exists() else ():
            if other != self.folder:
                shutil.rmtree(other, ignore_errors=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _added(seconds: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Seconds by step, of all together."""
    total: dict[str, float] = {}
    for one in seconds:
        for name, value in one.items():
            total[name] = total.get(name, 0.0) + value
    return total


def _nothing(rows: Sequence[ledger.Row], path: Place) -> str:
    """Why there is no sample at all, in one sentence."""
    reasons = Counter(f"{row.step}: {row.reason}" for row in rows)
    (why, count), others = reasons.most_common(1)[0], len(reasons) - 1
    more = f", and {others} other reasons" if others else ""
    return f"no clip was kept: {why} ({count} of {len(rows)}{more}); see {path}, give other clips"


def _time(work: Work) -> float:
    return work.clip.span_s[0] if work.clip.span_s else 0.0
