"""The loop over the steps of one fit: cancel, curves, validation, early stopping and checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from jobs.errors import PermanentError
from jobs.running import Stop
from models.training.curves import thinning
from models.training.pictures import moments
from models.training.ranks import Ranks
from models.training.reporting import SILENT_S, Reporter
from models.training.state import Standing, copied
from models.training.stepping import Stepper


class Loop:
    """Steps from where `standing` is to `steps`, or to an early end."""

    def __init__(
        self, stepper: Stepper, standing: Standing, steps: int, ranks: Ranks, report: Reporter,
        check: Callable[[], None], save: Callable[[bool], None],
    ) -> None:  # fmt: skip
        """`check` raises `Stop` between steps; `save(now)` makes a checkpoint if it is due, or at once with True."""
        self.stepper, self.standing, self.steps = stepper, standing, steps
        self._ranks, self._report, self._check, self._save = ranks, report, check, save
        self._per_epoch = math.ceil(stepper.task.examples / stepper.task.batch_size)
        self._thin, self._moments = thinning(steps), moments(steps)
        self._figures: dict[str, float] = {}
        self._loss = math.nan
        standing.sum = standing.sum.to(stepper.device)

    def run(self) -> dict[str, Tensor]:
        """The state of the network that the fit ends with. `Stop` passes through; where the job goes on elsewhere, with
        a checkpoint made first."""
        standing, task = self.standing, self.stepper.task
        while standing.step < self.steps and not standing.stopped:
            try:
                self._check()
            except Stop as stop:
                if stop.resumes:
                    self._save(True)
                raise
            standing.sum = standing.sum + self.stepper.step(standing.step, standing.step / self.steps)
            standing.step += 1
            standing.gathered += 1
            if standing.step == 1 or standing.step % self._thin == 0 or standing.step == self.steps:
                self._point()
            if standing.step % self._per_epoch == 0 or standing.step == self.steps:
                self._epoch_ends()
            if standing.step in self._moments:
                self._draw()
            if self._report.due():
                self._tell()
            self._save(False)
        if task.monitor is not None and standing.best is not None:
            return standing.best
        return copied(self.stepper.shown().state_dict())

    def _point(self) -> None:
        """The mean loss since the last point. A single number is fetched from the device here and not every step."""
        standing = self.standing
        self._loss = float(self._ranks.mean(standing.sum)) / standing.gathered
        if not math.isfinite(self._loss):
            where = f"{self.stepper.label}, step {standing.step}"
            raise PermanentError(f"The loss is no number any more ({where}); take a smaller learning rate.")
        standing.sum, standing.gathered = torch.zeros_like(standing.sum), 0
        if self._ranks.rank == 0:
            self._report.point(self.stepper.label, "loss", standing.step, self._loss)

    def _epoch_ends(self) -> None:
        """Validate on rank 0, and have every rank do alike about the best weights and an early end."""
        standing, task = self.standing, self.stepper.task
        verdict: dict[str, object] | None = None
        if self._ranks.rank == 0:
            self._figures = self.stepper.validate(self._validating)
            for name, figure in self._figures.items():
                self._report.point(self.stepper.label, name, standing.step, figure)
            verdict = {"value": self._monitored()}
        value = self._ranks.say(verdict)["value"]
        if task.monitor is None:
            return
        epoch = (standing.step - 1) // self._per_epoch
        if isinstance(value, float) and (standing.best_value is None or value > standing.best_value):
            standing.best, standing.best_value = copied(self.stepper.shown().state_dict()), value
            standing.best_epoch = epoch
        elif task.patience is not None and epoch - standing.best_epoch >= task.patience:
            standing.stopped = True
            self.stepper.say(f"{self.stepper.label}: stopped early after epoch {epoch + 1}, best was {self._best()}")

    def _validating(self) -> None:
        """Between the batches of a validation, which on large images may take longer than a caller waits for a cancel.
        Where the job goes on elsewhere, the validation is ended first: a checkpoint lies between two steps."""
        try:
            self._check()
        except Stop as stop:
            if not stop.resumes:
                raise
        if self._report.due(SILENT_S):
            self._report.say("training", f"{self.stepper.label}: validation")

    def _draw(self) -> None:
        content = self.stepper.picture() if self._ranks.rank == 0 else None
        if content is not None:
            self._report.picture(self.stepper.label, self.standing.step, content)

    def _monitored(self) -> float | None:
        """The figure by which the best weights are chosen; None where it is not a number."""
        monitor = self.stepper.task.monitor
        if monitor is None:
            return None
        if monitor not in self._figures:
            raise ValueError(f"{type(self.stepper.task).__name__}.validate gives no {monitor!r}, which it monitors")
        value = self._figures[monitor]
        return value if math.isfinite(value) else None

    def _best(self) -> str:
        standing = self.standing
        return f"{standing.best_value:.4f} after epoch {standing.best_epoch + 1}" if standing.best_value else "none"

    def _tell(self) -> None:
        standing = self.standing
        running = float(standing.sum) / standing.gathered if standing.gathered else self._loss
        figures = ", ".join([f"loss {running:.4f}", *(f"{name} {value:.4f}" for name, value in self._figures.items())])
        epoch = (standing.step - 1) // self._per_epoch + 1
        self._report.step(self.stepper.label, standing.step, epoch, math.ceil(self.steps / self._per_epoch), figures)
