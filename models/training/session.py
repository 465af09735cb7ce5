"""What a kind's trainer works with: its data and recipe, and the loop that survives whatever happens to the worker."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import safetensors.torch
import torch
from torch import nn

from jobs.datasets import DataSet
from jobs.errors import OtherRelease
from jobs.kinds import Recipe
from jobs.predicting import ModelVersion
from jobs.running import Work
from models.data.canonical import AnySet, fingerprint
from models.training.curves import Curves
from models.training.environment import deciding
from models.training.local import LocalWork
from models.training.loop import Loop
from models.training.pictures import Pictures
from models.training.plan import Cost, Plan, measured, settled
from models.training.ranks import Ranks
from models.training.reporting import Reporter
from models.training.saving import Now, Saved, digest
from models.training.state import Standing, packed, restore, to_bytes
from models.training.stepping import Stepper
from models.training.task import Planned, Task

Rest = float | Callable[[Mapping[str, Cost]], float] | None

REST_SHARE = 0.1
"""Share of the minutes kept for evaluation where the trainer gives no estimate."""


class Session:
    """One training. A trainer calls `plan` once, then `fit` and `once` in any fixed order, and evaluates.

    It must do the same after every restart: what was finished comes back from the checkpoint at once, so that a
    trainer needs no code for resuming.
    """

    def __init__(
        self, work: Work, data: AnySet, dataset: DataSet, recipe: Recipe, parent: ModelVersion | None = None,
        minutes: float | None = None, ranks: Ranks | None = None, began: float | None = None,
        virtual: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """`began`: the moment, by time.monotonic(), from which `minutes` count. `virtual`: which generator drew how
        many of the training images; None: all cases are real."""
        self.work, self.data, self.dataset, self.recipe, self.parent = work, data, dataset, recipe, parent
        self.seed, self.device, self.minutes, self.virtual = work.seed, work.device, minutes, virtual
        self.name = str(getattr(work.params, "name", None) or dataset.name)
        self.made_with = ""
        """The command that asks for this training; empty where there is no job."""

        self._ranks = ranks or Ranks()
        self._began = time.monotonic() if began is None else began
        self._saved = Saved(work.checkpoints, digest(self._configuration()), work.log)
        self._saved.go_on(deciding(self.device))
        self._report = Reporter(work, Curves(self._saved.curves), Pictures(self._saved.pictures))
        self._plan: Plan | None = None
        self._left: list[str] = []

    @classmethod
    def local(
        cls, data: AnySet, recipe: Recipe, seed: int, minutes: float | None = None, work: Work | None = None
    ) -> Session:
        """A session without a job, on the CPU: checkpoints in memory, progress in `session.work`."""
        work = work or LocalWork(seed)
        facts = {"counts": data.counts(), "facts": {}}
        dataset = DataSet("local", fingerprint(data), data.form, work.folder, facts)
        return cls(work, data, dataset, recipe, minutes=minutes)

    @property
    def curves(self) -> Curves:
        """Every curve so far."""
        return self._report.curves

    @property
    def moves(self) -> list[dict[str, list[Any]]]:
        """Where it went on in another environment: what differed -> [before, then]. Mostly none."""
        return self._saved.moves

    @property
    def pictures(self) -> Pictures:
        """Every picture so far."""
        return self._report.pictures

    @property
    def planned(self) -> Plan:
        """The plan; raises ValueError before there is one."""
        if self._plan is None:
            raise ValueError("call plan() first, with every fit that this training makes")
        return self._plan

    def plan(self, fits: Mapping[str, Planned], rest_s: Rest = None) -> Plan:
        """Settle the steps of every fit: from the checkpoint, from the job run again, or measured now. Called once.

        `rest_s`: seconds that stages and evaluation will take, or what tells them from the measured cost of each fit
        (default: a tenth of the minutes, or nothing).
        """
        if self._plan is not None:
            raise ValueError("plan() was called before; name all fits in one call")
        heard: dict[str, Any] | None = None
        if self._ranks.rank == 0:
            known = self._saved.plan or (self.work.original or {}).get("plan")
            heard = dict(known) if known is not None else self._measured(fits, rest_s).as_json()
        plan = Plan.read(self._ranks.say(heard))
        if set(plan.steps) != set(fits):
            told = f"the plan knows the fits {sorted(plan.steps)}, the trainer makes {sorted(fits)}"
            raise ValueError(told) if self.work.original is None else OtherRelease(f"In the first run {told}.")
        # Threads decide the order of sums: a training that goes on, or is run again, keeps those that it began with.
        torch.set_num_threads(plan.threads)
        self._plan, self._left = plan, [label for label in fits if label not in self._saved.fits]
        self._report.begin(plan, list(self._saved.fits))
        if self._saved.plan is None:
            self._saved.plan = plan.as_json()
            self._save(None)
        return plan

    def fit(self, label: str, task: Task, epochs: float) -> nn.Module:
        """Train one network; it comes back on the CPU in evaluation mode. Raises `Stop` when the job is to end.

        Where `plan` was not called, this is the only fit and the whole plan.
        """
        if self._plan is None:
            self.plan({label: Planned(task, epochs)})
        if label not in self.planned.steps:
            raise ValueError(f"{label!r} is not among the fits that plan() was given")
        if label not in self._saved.fits:
            self._run(label, task)
        if label in self._left:
            self._left.remove(label)
        network = self._built(task, self._saved.fits[label])
        if not self._left and self._ranks.world > 1:
            self._ranks.end()
        return network

    def once(self, label: str, make: Callable[[], dict[str, bytes]]) -> dict[str, bytes]:
        """What `make` returns, such as a boosted model as text; kept in the checkpoint and not made again."""
        if label not in self._saved.stages:
            self.step()
            self.say("training", label)
            made = make() if self._ranks.rank == 0 else {}
            if self._ranks.world > 1:
                made = _unpacked(self._ranks.share(_packed(made) if self._ranks.rank == 0 else None))
            self._saved.stages[label] = made
            self._save(None)
        return self._saved.stages[label]

    def step(self) -> None:
        """Call now and then in whatever takes long: raises `Stop` when the job is to end."""
        self.work.step()
        self._ranks.check()

    def pulse(self, stage: str, message: str, rest_s: float | None = None) -> None:
        """`step`, and every second or so a word: for each portion of what is no step of a fit, such as evaluation.

        `rest_s`: seconds that are behind of the plan's rest.
        """
        self.step()
        if self._report.due():
            self._report.say(stage, message, rest_s)

    def say(self, stage: str, message: str = "") -> None:
        """Report what is being done besides fitting; call it at least every few seconds."""
        self._report.say(stage, message)

    def _run(self, label: str, task: Task) -> None:
        plan, ranks = self.planned, self._ranks
        stepper = Stepper(
            task, self.seed, label, self.device, ranks.rank, ranks.world, plan.micro.get(label), self.work.log
        )
        standing = Standing()
        now = self._saved.now
        if now is not None and now.label == label:
            standing = restore(stepper, now.content, now.said)
        self.curves.forget_after(label, standing.step)
        self.pictures.forget_after(label, standing.step)

        def save(at_once: bool) -> None:
            if ranks.rank == 0 and (at_once or self._saved.due()):
                self._save(Now(label, *packed(stepper, standing)))

        loop = Loop(stepper, standing, plan.steps[label], ranks, self._report, self.step, save)
        try:
            state = loop.run()
        except RuntimeError:
            # A rank that dies breaks the connection in the middle of a step; that is not the task's fault.
            ranks.check()
            raise
        if stepper.micro < plan.micro.get(label, task.batch_size):
            self._plan = plan.within({**plan.micro, label: stepper.micro})
            self._saved.plan = self._plan.as_json()
        self._saved.fits[label] = to_bytes(state)
        self._report.finish(label, standing.step)
        self._save(None)

    def _built(self, task: Task, content: bytes) -> nn.Module:
        network = task.build()
        network.load_state_dict(safetensors.torch.load(content))
        for parameter in network.parameters():
            parameter.data = parameter.data.contiguous()
        return network.eval()

    def _measured(self, fits: Mapping[str, Planned], rest_s: Rest) -> Plan:
        cost = measured(fits, self.device, lambda: self.pulse("planning", "measuring the speed of a step"))
        left_s = (self.minutes or 0.0) * 60 - (time.monotonic() - self._began)
        rest = rest_s(cost) if callable(rest_s) else rest_s
        if rest is None:
            rest = (self.minutes or 0.0) * 60 * REST_SHARE
        return settled(fits, cost, self.minutes, left_s, rest, self._ranks.world)

    def _save(self, now: Now | None) -> None:
        if self._ranks.rank == 0:
            self._saved.curves, self._saved.pictures = self.curves.as_json(), self.pictures.files()
            self._saved.save(now)

    def _configuration(self) -> dict[str, Any]:
        """All that decides the weights, besides the plan."""
        parent = None if self.parent is None else [self.parent.name, self.parent.version, self.parent.weights_sha256]
        return {
            "data": self.dataset.fingerprint,
            "recipe": [type(self.recipe).__qualname__, self.recipe.model_dump(mode="json")],
            "parent": parent,
            "seed": self.seed,
            "minutes": self.minutes,
            "devices": self._ranks.world,
            **({"virtual": self.virtual} if self.virtual is not None else {}),
        }


def _packed(files: Mapping[str, bytes]) -> bytes:
    """File names and lengths as a line of JSON, then the contents."""
    head = json.dumps([[name, len(content)] for name, content in files.items()]).encode()
    return head + b"\n" + b"".join(files.values())


def _unpacked(content: bytes) -> dict[str, bytes]:
    head, _, rest = content.partition(b"\n")
    files: dict[str, bytes] = {}
    for name, length in json.loads(head):
        files[name], rest = rest[:length], rest[length:]
    return files
