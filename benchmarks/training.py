"""`python -m benchmarks.training`: what checkpoints, metrics and progress cost a training, beside the bare loop.

Both train the same network on the same batches: resnet18 of width 32 on 28 x 28 images, bf16, average, augmentation.
The bare loop is what a researcher writes first, in one process. The other is a job's attempt (benchmarks/attempt.py)
with its database, its checkpoints on disk and its watch thread; only the queue before it is left out. The two take
turns in one process, and the ratio is taken pair by pair, in wall and in processor time; 0.97 or more is asked.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.attempt import attempt
from models.data.canonical import ImageSet
from models.diagnosis.fitting import ImageTask
from models.diagnosis.recipes import DiagnosisRecipe
from models.training.randomness import generator, order
from models.training.session import Session
from models.training.task import Planned

ASKED = 0.97

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""The processor's counts every thread of the process, the one beside the job included."""


def images(count: int) -> ImageSet:
    """Noise with the size and the parts of a small published set: what is measured is time."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, count)
    pictures = (random.integers(0, 156, (count, 28, 28)) + 100 * labels[:, None, None]).astype(np.uint8)
    split = np.where(np.arange(count) % 10 == 0, 1, 0).astype(np.uint8)
    return ImageSet(
        split=split, key=np.arange(count, dtype=np.uint64), images=pictures, labels=labels.astype(np.int64),
        patient=np.arange(count), classes=("no", "yes"),
    )  # fmt: skip


def task_of(data: ImageSet, recipe: DiagnosisRecipe) -> ImageTask:
    """The network that both train."""
    return ImageTask(data.take(data.part(0)), data.take(data.part(1)), recipe, 1)


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Seconds that it takes, by each clock."""
    began = {name: clock() for name, clock in CLOCKS.items()}
    work()
    return {name: clock() - began[name] for name, clock in CLOCKS.items()}


def bare(task: ImageTask, epochs: int) -> None:
    """The loop alone: batches, steps, average, a validation after each epoch."""
    torch.manual_seed(0)
    network = task.build()
    averaged = copy.deepcopy(network)
    pairs = list(zip(averaged.state_dict().values(), network.state_dict().values(), strict=True))
    optimizer = task.optimizer(network)
    per_epoch = -(-task.examples // task.batch_size)
    random = generator(0)
    for epoch in range(epochs):
        network.train()
        for place, index in enumerate(torch.split(order(0, "bare", epoch, task.examples), task.batch_size)):
            step = epoch * per_epoch + place
            for group in optimizer.param_groups:
                group["lr"] = task.recipe.learning_rate * task.schedule(step / (epochs * per_epoch))
            with torch.autocast("cpu", torch.bfloat16, enabled=task.precision == "bf16"):
                loss = task.loss(network, task.batch(index, random))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for kept, new in pairs:
                    if kept.is_floating_point():
                        kept.lerp_(new, 1 - min(task.ema, step / (step + 10)))
                    else:
                        kept.copy_(new)
        with torch.no_grad():
            task.validate(averaged.eval())


def as_a_job(task: ImageTask, data: ImageSet, recipe: DiagnosisRecipe, epochs: int) -> dict[str, float]:
    """Seconds of the same fit as a job's attempt, by each clock; its plan is made once a job, uncounted."""
    with tempfile.TemporaryDirectory() as folder, attempt(Path(folder)) as work:
        session = Session.local(data, recipe, 0, work=work)
        session.plan({"one": Planned(task, epochs)})
        return timed(lambda: session.fit("one", task, epochs))


def main() -> int:
    """Print both, and the ratios with their spread; exit code 1 where the ratio by --clock is below what is asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--images", type=int, default=1600)
    parser.add_argument("--epochs", type=int, default=4, help="of each turn (default %(default)s)")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="that decides; cpu: where others use the machine"
    )
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    data, recipe = images(chosen.images), DiagnosisRecipe()
    task = task_of(data, recipe)
    ratios: dict[str, list[float]] = {name: [] for name in CLOCKS}
    bare(task, 1)
    for turn in range(chosen.turns):
        measure = {
            "bare": lambda: timed(lambda: bare(task, chosen.epochs)),
            "job": lambda: as_a_job(task, data, recipe, chosen.epochs),
        }
        # Who goes first changes from turn to turn: the machine may grow slower as it gets warm.
        names = ["bare", "job"] if turn % 2 == 0 else ["job", "bare"]
        seconds = {name: measure[name]() for name in names}
        for clock, found in ratios.items():
            plain, job = (seconds[name][clock] for name in ("bare", "job"))
            found.append(plain / job)
            rates = [task.examples * chosen.epochs / one for one in (plain, job)]
            print(
                f"  {clock:4} bare {rates[0]:7.1f} images/s   job {rates[1]:7.1f} images/s   {found[-1]:.3f}",
                flush=True,
            )
    for clock, found in ratios.items():
        middle = statistics.median(found)
        print(f"job of bare, {clock}: {middle:.3f} ({min(found):.3f} to {max(found):.3f}), asked {ASKED}")
    return 0 if statistics.median(ratios[chosen.clock]) >= ASKED else 1


if __name__ == "__main__":
    sys.exit(main())
