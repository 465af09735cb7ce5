"""`python -m benchmarks.training`: what checkpoints, metrics and progress cost a training, beside the bare loop.

Both train the same network on the same batches: resnet18 of width 32 on 28 x 28 images, bf16, average, augmentation.
The bare loop is what a researcher writes first, in one process. The two take turns on one and the same machine, and the
ratio is taken pair by pair; 0.97 or more is asked.
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

from models.data.canonical import ImageSet
from models.diagnosis.fitting import ImageTask
from models.diagnosis.recipes import DiagnosisRecipe
from models.training.local import LocalWork
from models.training.randomness import generator, order
from models.training.session import Session
from models.training.task import Planned
from storage.checkpoints import StoredCheckpoints
from storage.disk import Disk

ASKED = 0.97

Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


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


def bare(task: ImageTask, epochs: int, clock: Clock) -> float:
    """Seconds of the loop alone: batches, steps, average, a validation after each epoch."""
    torch.manual_seed(0)
    network = task.build()
    averaged = copy.deepcopy(network)
    pairs = list(zip(averaged.state_dict().values(), network.state_dict().values(), strict=True))
    optimizer = task.optimizer(network)
    per_epoch = -(-task.examples // task.batch_size)
    random = generator(0)
    began = clock()
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
    return clock() - began


def through_session(
    task: ImageTask, data: ImageSet, recipe: DiagnosisRecipe, epochs: int, folder: Path, clock: Clock
) -> float:
    """Seconds of the same fit through a session, with checkpoints on disk; the plan is made once a job, uncounted."""
    work = LocalWork(0)
    work.checkpoints = StoredCheckpoints(Disk(folder), "job", 1)
    session = Session.local(data, recipe, 0, work=work)
    session.plan({"one": Planned(task, epochs)})
    began = clock()
    session.fit("one", task, epochs)
    return clock() - began


def main() -> int:
    """Print both, and the ratio with its spread; the exit code is 1 where it is below what is asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--images", type=int, default=1600)
    parser.add_argument("--epochs", type=int, default=4, help="of each turn (default %(default)s)")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: where others use the machine too")
    chosen = parser.parse_args()
    clock = CLOCKS[chosen.clock]
    torch.set_num_threads(chosen.threads)
    data, recipe = images(chosen.images), DiagnosisRecipe()
    task = task_of(data, recipe)
    seen = task.examples * chosen.epochs
    ratios, rates = [], []
    bare(task, 1, clock)
    for turn in range(chosen.turns):
        with tempfile.TemporaryDirectory() as folder:
            measure = {
                "bare": lambda: bare(task, chosen.epochs, clock),
                "session": lambda: through_session(task, data, recipe, chosen.epochs, Path(folder), clock),
            }
            # Who goes first changes from turn to turn: the machine may grow slower as it gets warm.
            names = ["bare", "session"] if turn % 2 == 0 else ["session", "bare"]
            seconds = {name: measure[name]() for name in names}
        ratios.append(seconds["bare"] / seconds["session"])
        rates.append((seen / seconds["bare"], seen / seconds["session"]))
        print(
            f"  bare {rates[-1][0]:7.1f} images/s   session {rates[-1][1]:7.1f} images/s   {ratios[-1]:.3f}", flush=True
        )
    middle = statistics.median(ratios)
    print(f"session of bare: {middle:.3f} ({min(ratios):.3f} to {max(ratios):.3f}), asked {ASKED}")
    return 0 if middle >= ASKED else 1


if __name__ == "__main__":
    sys.exit(main())
