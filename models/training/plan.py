"""How long a training takes and how many steps each of its fits gets, settled before the first step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import torch

from jobs.errors import BudgetTooSmall
from models.training.stepping import Stepper
from models.training.task import Planned, Task

SAFETY = 0.92
"""Share of the time left that the steps may take: a machine is not equally fast in every minute."""

MEASURED_S = 8.0
"""Time spent on measuring all fits together, as far as single steps allow it."""

MARGIN = 1.2
"""By how much the budget that a refusal names is above the one that was computed: it is to suffice when tried."""

LEAST_STEPS = 2
"""Steps measured of each fit, after one that warms up."""


@dataclass(frozen=True)
class Plan:
    """Step counts by label, with what they were made from. Committed before step 1; a rerun takes it as it stands.

    `seconds`: one step with its share of validation, measured (0 where nothing was measured); `rest_s`: what the
    trainer says its other work takes; `threads` and `instruction_set` decide the last bits of the weights.
    """

    steps: Mapping[str, int]
    full: Mapping[str, int]
    seconds: Mapping[str, float]
    rest_s: float
    minutes: float | None
    devices: int
    threads: int
    instruction_set: str
    micro: Mapping[str, int] = field(default_factory=dict)
    """Examples that the device holds at once, where they are fewer than a batch."""

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """The plan that `as_json` wrote; raises TypeError or KeyError where it is none."""
        return cls(**data)

    def as_json(self) -> dict[str, Any]:
        """As a checkpoint, a manifest and a result keep it."""
        return asdict(self)

    def seconds_of(self, label: str) -> float:
        """Predicted time of a fit."""
        return self.steps[label] * self.seconds[label]

    def total_s(self) -> float:
        """Predicted time of all fits and of the rest."""
        return sum(self.seconds_of(label) for label in self.steps) + self.rest_s

    def within(self, micro: Mapping[str, int]) -> Self:
        """The same plan where fits turned out to need smaller micro-batches."""
        return replace(self, micro=dict(micro))


@dataclass(frozen=True)
class Cost:
    """Measured on a throwaway copy: seconds of a step and of a validation, and the micro-batch that fits."""

    step_s: float
    epoch_s: float
    micro: int


def per_epoch(task: Task) -> int:
    """Steps that show every example once."""
    return math.ceil(task.examples / task.batch_size)


def full_steps(planned: Planned) -> int:
    """Steps of the full recipe, at least one."""
    return max(1, round(planned.epochs * per_epoch(planned.task)))


def settled(
    fits: Mapping[str, Planned], cost: Mapping[str, Cost], minutes: float | None, left_s: float, rest_s: float,
    devices: int = 1,
) -> Plan:  # fmt: skip
    """The plan: the full recipe, or with `minutes` the same share of every fit such that all end in `left_s`.

    Raises `BudgetTooSmall` where that would not show every network each of its examples once.
    """
    full = {label: full_steps(planned) for label, planned in fits.items()}
    seconds = {label: cost[label].step_s + cost[label].epoch_s / per_epoch(fits[label].task) for label in fits}
    share = 1.0
    if minutes is not None:
        wanted = sum(full[label] * seconds[label] for label in fits)
        share = min(1.0, max(0.0, (left_s - rest_s) * SAFETY) / wanted) if wanted else 1.0
        least = max(min(1.0, per_epoch(fits[label].task) / count) for label, count in full.items())
        if share < least:
            raise _too_small(minutes, minutes * 60 - left_s + rest_s + least * wanted / SAFETY)
    return Plan(
        steps={label: max(1, math.floor(count * share)) for label, count in full.items()},
        full=full,
        seconds={label: round(value, 6) for label, value in seconds.items()},
        rest_s=round(rest_s, 3),
        minutes=minutes,
        devices=devices,
        threads=torch.get_num_threads(),
        instruction_set=torch.backends.cpu.get_cpu_capability(),
        micro={label: cost[label].micro for label in fits if cost[label].micro < fits[label].task.batch_size},
    )


def _too_small(minutes: float, needed_s: float) -> BudgetTooSmall:
    """The refusal, in tenths of a minute."""
    least = math.ceil(needed_s * MARGIN / 6) / 10
    detail = f"{minutes:g} minutes are too few for an epoch of every network of this recipe, on this data and machine"
    return BudgetTooSmall(f"{detail}: {least:g} would do. Ask for more, or for a smaller recipe.", least_minutes=least)


def measured(fits: Mapping[str, Planned], device: str, tick: Callable[[], None]) -> dict[str, Cost]:
    """The cost of every fit, by its label. Fits of equal shape (the seeds of an ensemble) are measured once.

    `tick` is called between steps.
    """
    alike: dict[Any, list[str]] = {}
    for label, planned in fits.items():
        alike.setdefault(Stepper(planned.task, 0, label, device).shape(), []).append(label)
        tick()
    found: dict[str, Cost] = {}
    for labels in alike.values():
        stepper = Stepper(fits[labels[0]].task, 0, labels[0], device)
        found |= dict.fromkeys(labels, _cost(stepper, MEASURED_S / len(alike), tick))
    return found


def _cost(stepper: Stepper, each_s: float, tick: Callable[[], None]) -> Cost:
    began = time.perf_counter()
    stepper.step(0)
    tick()
    first = last = time.perf_counter()
    # Rests of an epoch are smaller than a batch: the steps measured are those of a whole one.
    done = 0
    while done < LEAST_STEPS or (last - began < each_s * 0.7 and done < 20):
        stepper.step(done % max(1, stepper.task.examples // stepper.task.batch_size))
        stepper.settle()
        tick()
        done += 1
        last = time.perf_counter()
    stepper.validate(tick)
    return Cost((last - first) / done, time.perf_counter() - last, stepper.micro)
