"""What a training says while it runs: progress with the time left, and the points of its curves."""

from __future__ import annotations

import time

from jobs.running import Work
from models.training.curves import Curves
from models.training.pictures import PNG, Pictures
from models.training.plan import Plan

EVERY_S = 1.0
"""Seconds between two reports of progress."""

SILENT_S = 3.0
"""Seconds after which a validation says that it is under way."""


class Reporter:
    """Turns steps into progress of the whole job. Times are those of the plan, corrected by the pace so far."""

    def __init__(self, work: Work, curves: Curves, pictures: Pictures) -> None:
        """`curves` and `pictures` are filled beside the job's events."""
        self._work = work
        self.curves, self.pictures = curves, pictures
        self._plan: Plan | None = None
        self._done_s = self._skipped_s = self._rest_s = 0.0
        self._began: tuple[float, float] | None = None
        self._told_at = 0.0
        self.fraction = 0.0

    def begin(self, plan: Plan, finished: list[str]) -> None:
        """The plan holds, and these fits of it are done already."""
        self._plan = plan
        self._done_s = sum(plan.seconds_of(label) for label in finished if label in plan.steps)
        self._began = None

    def finish(self, label: str, step: int) -> None:
        """A fit has ended after `step` steps; those that it did not need say nothing of the pace."""
        assert self._plan is not None
        self._done_s += self._plan.seconds_of(label)
        self._skipped_s += (self._plan.steps[label] - step) * self._plan.seconds[label]
        self.fraction = min((self._done_s + self._rest_s) / (self._plan.total_s() or 1.0), 1.0)

    def due(self, every_s: float | None = None) -> bool:
        """Whether it is time to say something: nothing was said for so long, by default EVERY_S."""
        return time.monotonic() - self._told_at >= (EVERY_S if every_s is None else every_s)

    def step(self, label: str, step: int, epoch: int, epochs: int, figures: str) -> None:
        """`step` steps of a fit are done; `figures` are the newest loss and metric in words."""
        assert self._plan is not None
        plan, now = self._plan, time.monotonic()
        self._told_at = now
        done_s = self._done_s + step * plan.seconds[label]
        self._began = self._began or (now, done_s - self._skipped_s)
        left = f", {self.left_s(done_s):.0f} s left" if now > self._began[0] else ""
        self.fraction = min((done_s + self._rest_s) / (plan.total_s() or 1.0), 1.0)
        where = f"{label}, epoch {epoch} of {epochs}, step {step} of {plan.steps[label]}"
        self._work.progress(self.fraction, "training", f"{where}, {figures}{left}")

    def left_s(self, done_s: float) -> float:
        """Seconds to the end of the job when the plan's `done_s` lie behind."""
        assert self._plan is not None
        assert self._began is not None
        passed, planned = time.monotonic() - self._began[0], done_s - self._skipped_s - self._began[1]
        pace = passed / planned if planned > 0 else 1.0
        rest_s = max(0.0, self._plan.rest_s - self._rest_s)
        return (self._plan.total_s() - self._plan.rest_s - done_s) * pace + rest_s

    def say(self, stage: str, message: str, rest_s: float | None = None) -> None:
        """Progress of another sort. The fraction stays where it was, unless `rest_s` of the plan's rest lie behind."""
        self._told_at = time.monotonic()
        if rest_s is not None and self._plan is not None:
            self._rest_s = min(rest_s, self._plan.rest_s)
            self.fraction = min((self._done_s + self._rest_s) / (self._plan.total_s() or 1.0), 1.0)
        self._work.progress(self.fraction, stage, message)

    def point(self, label: str, figure: str, step: int, value: float) -> None:
        """A point of a curve, in the curves and as an event of the job."""
        name = f"{label}/{figure}"
        self.curves.add(name, step, value)
        self._work.metric(name, value, step)

    def picture(self, label: str, step: int, content: bytes) -> None:
        """A picture of what a fit has learnt, to be looked at while it goes on."""
        self._work.show(self.pictures.add(label, step, content), PNG, content, step)
