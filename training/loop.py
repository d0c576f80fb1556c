"""The loop: objective, optimiser, clock. It knows nothing of Ray and nothing of lip-sync."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from core.contracts import Numbers, Objective, Tracker
from core.errors import InputError
from core.files import write_bytes
from infra.trackers import History
from training import checkpointing, histograms, optim, sharding, validation
from training.checkpointing import Identity, Run
from training.data import Samples
from training.ema import Ema
from training.recipe import TrainRecipe
from training.saving import Saver

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int, Numbers, float], None]
"""(stage, steps done, steps, losses of the last step, seconds left)."""

_PROGRESS_EVERY_S = 0.5


class Diverged(InputError):
    """Loss or gradient was no number for too many steps in a row."""


def no_progress(stage: str, step: int, steps: int, losses: Numbers, seconds_left: float) -> None:
    """Says nothing."""


@dataclass(frozen=True)
class Watch:
    """Who hears of a run: a console, a tracker."""

    tracker: Tracker
    progress: Progress = no_progress


@dataclass(frozen=True)
class Outcome:
    """What a finished run gives."""

    step: int
    metrics: dict[str, float]
    weights: Mapping[str, torch.Tensor]


def check_terms(objective: Objective, recipe: TrainRecipe) -> None:
    """Refuses a recipe whose ``loss_weights`` are not exactly the objective's terms.

    Raises:
        InputError: names the missing and the unknown keys.
    """
    missing = sorted(objective.terms - recipe.loss_weights.keys())
    unknown = sorted(recipe.loss_weights.keys() - objective.terms)
    if missing or unknown:
        raise InputError(
            f"recipe of {recipe.stage}: loss_weights lacks [{', '.join(missing)}] and has unknown "
            f"[{', '.join(unknown)}]; its keys must be {', '.join(sorted(objective.terms))}"
        )


def device() -> torch.device:
    """The accelerator when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def step_seed(seed: int, step: int, rank: int) -> int:
    """A torch seed for one step of one worker, so that no generator's state need be saved."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)


class Loop:
    """Trains one objective by one recipe, from wherever it stopped last.

    Args:
        objective: the stage. data: its clips. recipe: how.
        out: folder for resumable states and pictures.
        who: identity of the run; states of another one are not resumed.
        watch: console and tracker; the loop itself keeps the history in ``out``.
        saved: told of each state that is on disk.
    """

    def __init__(
        self,
        objective: Objective,
        data: Samples,
        recipe: TrainRecipe,
        out: Path,
        who: Identity,
        watch: Watch,
        saved: Callable[[Path], None] = lambda folder: None,
    ) -> None:
        check_terms(objective, recipe)
        self.objective, self.data, self.recipe = objective, data, recipe
        self.out, self.who = out, who
        self.watch = replace(watch, tracker=History(out, watch.tracker))
        self.device = device()
        for module in {**objective.frozen(), **objective.trainable()}.values():
            module.to(self.device)
        for module in objective.frozen().values():
            module.eval().requires_grad_(False)
        self._prepare(objective.trainable())
        live = checkpointing.named_tensors(objective.trainable())
        params = checkpointing.named_parameters(objective.trainable())
        self.run = Run(live, Ema(live, recipe.ema), optim.make_optimizer(params, recipe), params)
        self._workers = optim.workers()
        self._saver = Saver(out, who, saved)
        self._bad = 0
        self._terms_since: list[dict[str, float]] = []
        self._recent: list[dict[str, float]] = []
        self._losses: dict[str, float] = {}
        self._told = -math.inf
        self._logged = (0, 0.0)

    def _prepare(self, modules: Mapping[str, torch.nn.Module]) -> None:
        """Trained nets as the recipe wants them: checkpointed, spread over workers, compiled."""
        recipe = self.recipe
        for module in modules.values():
            module.train()
            for part in module.modules():
                if hasattr(part, "checkpointing"):
                    part.checkpointing = recipe.checkpointing  # type: ignore[assignment]
        self._sharded = recipe.sharded and optim.workers() > 1
        if self._sharded:
            optim.share_from_first(checkpointing.named_tensors(modules))
            sharding.shard(modules, self.device)
        if recipe.compile:
            for module in modules.values():
                module.compile(backend=recipe.compile)

    def fit(self) -> Outcome:
        """Trains to the end of steps or minutes and measures.

        Raises:
            Diverged: too many steps in a row were no number.
            InputError: the folder can't be written.
        """
        try:
            return self._fit()
        finally:
            self._saver.wait()

    def _fit(self) -> Outcome:
        self._resume()
        self._since = time.monotonic() - self.run.elapsed_s
        self._began = (self.run.step, self.run.elapsed_s)
        self._logged = self._began
        saved, validated = self.run.elapsed_s, -1
        metrics: dict[str, float] = {}
        self._tell(force=True)
        while (progress := self._progress()) < 1:
            self._step(progress)
            self.run.elapsed_s = optim.agree(time.monotonic() - self._since)
            self._tell()
            if self.run.step % self.recipe.log_every == 0:
                self._log()
            if self.recipe.validate_every and self.run.step % self.recipe.validate_every == 0:
                metrics, validated = self._validate(), self.run.step
            if self.run.elapsed_s - saved >= self.recipe.save_every_s:
                self._saver.save(self.run)
                saved = self.run.elapsed_s
        if validated != self.run.step:
            metrics = self._validate()
        self._log()
        self._tell(force=True)
        weights = {name: sharding.whole(t) for name, t in self.run.ema.tensors().items()}
        return Outcome(self.run.step, metrics, weights)

    def _resume(self) -> None:
        if optim.rank() == 0 and checkpointing.resume(self.out, self.run, self.who):
            log.info("%s goes on from step %d", self.recipe.stage, self.run.step)
        step = int(optim.agree(self.run.step))  # by now the first worker has cleared damaged states
        if optim.rank() and step:
            checkpointing.resume(self.out, self.run, self.who)
        assert self.run.step == step, f"states must lie where every worker reads: {self.out}"
        if not self._sharded:  # those were shared before they were spread
            optim.share_from_first(self.run.live)
        best = checkpointing.best_of(self.out, self.who)
        self._best = math.inf if best is None else float(best["metrics"]["held_out.error"])
        if step == 0:
            self.run.ema = Ema(self.run.live, self.recipe.ema)

    def _progress(self) -> float:
        done = self.run.step / self.recipe.steps
        if self.recipe.minutes:
            done = max(done, self.run.elapsed_s / (60 * self.recipe.minutes))
        return done

    def _step(self, progress: float) -> None:
        """One optimiser step, or a skipped one when loss or gradient is no number."""
        run, recipe = self.run, self.recipe
        rate = optim.learning_rate(recipe, run.step, progress)
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        if hasattr(self.objective, "at"):
            self.objective.at(progress)
        run.optimizer.zero_grad(set_to_none=True)
        parts = [self._backward(part) for part in range(recipe.accumulate)]
        total = parts[0]["total"] if len(parts) == 1 else _mean([p["total"] for p in parts])
        mean = optim.average_gradients(run.params, total, self._sharded)
        if optim.workers() != self._workers:
            # Ray takes the group away before it ends a worker whose fellow died: what was just
            # averaged may be this one's gradient alone, to be neither told nor saved.
            raise RuntimeError(f"{optim.workers()} of {self._workers} workers are left")
        norm = optim.clip_gradients(run.params, recipe.grad_clip)
        run.step += 1
        values = {n: float(_mean([p[n] for p in parts])) for n in parts[0]}
        self._losses = {**values, "total": mean}
        self._spread()
        if math.isfinite(mean) and math.isfinite(norm):
            run.optimizer.step()
            run.ema.update(run.step)
            self._bad = 0
            self._recent.append({**self._losses, "grad_norm": norm, "lr": rate})
        else:
            self._skip()

    def _backward(self, part: int) -> dict[str, torch.Tensor]:
        """Gradients of one part of the step's batch; its loss terms, detached, and their total."""
        terms, weights = self._terms(part), self.recipe.loss_weights
        total = torch.stack([w * terms[n].float() for n, w in weights.items() if w]).sum()
        (total / self.recipe.accumulate if self.recipe.accumulate > 1 else total).backward()
        return {**{n: t.detach() for n, t in terms.items()}, "total": total.detach()}

    def _terms(self, part: int) -> Mapping[str, torch.Tensor]:
        """Unweighted loss terms of a part of this step's batch.

        All chance comes from (seed, step, stream), with a stream for each part on each worker.
        """
        recipe, step = self.recipe, self.run.step
        request = self.objective.request(np.random.default_rng([recipe.seed, step]))
        size = recipe.batch // (optim.workers() * recipe.accumulate)
        stream = optim.rank() + optim.workers() * part
        batch = self.data.batch(request, size, recipe.seed, step, stream)
        seed = step_seed(recipe.seed, step, stream)
        torch.manual_seed(seed)  # dropout in the nets draws from the global generator
        rng = torch.Generator().manual_seed(seed)  # on the CPU: the same chance on any device
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=recipe.bf16):
            terms = self.objective.losses(validation.to_device(batch, self.device), rng)
        assert terms.keys() == self.objective.terms, f"{sorted(terms)} != its declared terms"
        return terms

    def _spread(self) -> None:
        """Every ``histogram_every`` steps, how terms and gradients are spread, as a picture."""
        every = self.recipe.histogram_every
        if not every or optim.rank():
            return
        self._terms_since.append(self._losses)
        if self.run.step % every == 0:
            path = self.out / "histograms" / f"step_{self.run.step:09d}.png"
            sizes = histograms.gradients(self.objective.trainable())
            write_bytes(path, histograms.draw(self._terms_since, sizes))
            self.watch.tracker.artifact(path, "histograms")
            self._terms_since = []

    def _skip(self) -> None:
        self.run.skipped += 1
        self._bad += 1
        odd = [name for name, value in self._losses.items() if not math.isfinite(value)]
        culprit = ", ".join(odd) or "the gradient"
        log.warning("%s: step %d skipped, no number: %s", self.recipe.stage, self.run.step, culprit)
        if self._bad >= self.recipe.bad_steps:
            raise Diverged(
                f"{self.recipe.stage} gave no number ({culprit}) in {self._bad} steps in a row, "
                f"the last being step {self.run.step}: lower lr, or switch bf16 off, and run again"
            )

    def _log(self) -> None:
        """Means since the last line go to the tracker."""
        if not self._recent or optim.rank():
            return
        names = self._recent[0].keys()
        means = {n: float(np.mean([row[n] for row in self._recent])) for n in names}
        values = {(n if n in ("lr", "grad_norm") else f"loss/{n}"): v for n, v in means.items()}
        steps, seconds = self.run.step - self._logged[0], self.run.elapsed_s - self._logged[1]
        values["samples_per_s"] = steps * self.recipe.batch / max(seconds, 1e-9)
        values["skipped_steps"] = float(self.run.skipped)
        self.watch.tracker.metrics(values, self.run.step)
        self._recent, self._logged = [], (self.run.step, self.run.elapsed_s)

    def _validate(self) -> dict[str, float]:
        """Measures the averaged weights on the first worker; logs numbers, gate, picture and video.

        Nets that are spread over the workers run on all of them.
        """
        if optim.rank() and not self._sharded:
            return {}
        name = self.out / "pictures" / f"step_{self.run.step:09d}"
        args = (self.objective, self.data, self.recipe, self.device)
        with self.run.ema.swapped():
            metrics, verdict = validation.validate(*args)
            files = validation.save_pictures(*args, name)
        self._keep_best(metrics)
        if optim.rank():
            return metrics
        self.watch.tracker.metrics(metrics, self.run.step)
        for file in files:
            self.watch.tracker.artifact(file, "pictures")
        if verdict is None:
            log.warning("%s: no clip is long enough to hold time out", self.recipe.stage)
        else:
            level = logging.INFO if verdict.passed else logging.WARNING
            log.log(level, "%s step %d %s", self.recipe.stage, self.run.step, verdict.line())
        return metrics

    def _keep_best(self, metrics: Mapping[str, float]) -> None:
        """Weights with the smallest held-out error so far, where runs are validated on the way."""
        error = metrics.get("held_out.error", math.inf)
        if self.recipe.validate_every and error < self._best:
            self._best = error
            about = {"identity": self.who.sha, "step": self.run.step, "metrics": dict(metrics)}
            checkpointing.save_best(self.out, self.run.ema.tensors(), self.recipe.save_half, about)

    def _tell(self, force: bool = False) -> None:
        now = time.monotonic()
        if optim.rank() or (not force and now - self._told < _PROGRESS_EVERY_S):
            return
        self._told = now
        progress = self.watch.progress
        progress(
            self.recipe.stage, self.run.step, self.recipe.steps, self._losses, self._seconds_left()
        )

    def _seconds_left(self) -> float:
        """Time to the end at this session's pace; nan before the first step."""
        steps, seconds = self.run.step - self._began[0], self.run.elapsed_s - self._began[1]
        left = (self.recipe.steps - self.run.step) * seconds / steps if steps else math.nan
        if self.recipe.minutes:
            cap = max(0.0, 60 * self.recipe.minutes - self.run.elapsed_s)
            left = cap if math.isnan(left) else min(left, cap)
        return left


def _mean(values: list[torch.Tensor]) -> torch.Tensor:
    return values[0] if len(values) == 1 else torch.stack([v.float() for v in values]).mean()
