"""A kind that is trained in a second: a small network on images of 4 x 4 pixels, with all that a training can have."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from jobs.datasets import DataSet
from jobs.kinds import Kind, Params, Recipe
from jobs.running import Stop
from jobs.training import NewVersion
from models import registry
from models.data.canonical import TEST, TRAIN, VALIDATION, ImageSet, dump, fingerprint
from models.training.kind import TrainingParams
from models.training.local import LocalWork
from models.training.session import Session
from models.training.state import to_bytes
from models.training.task import Planned, Task

ROOT = Path(__file__).parents[1]


class ToyRecipe(Recipe):
    """Everything that the loop can be asked for."""

    epochs: float = Field(default=4, gt=0)
    batch: int = Field(default=32, gt=0)
    ema: float = 0.9
    clip: float | None = 1.0
    dropout: float = 0.2
    noise: float = 0.1
    norm: bool = True
    precision: str = "fp32"
    patience: int | None = None
    fits: int = 2
    pause_s: float = 0.0
    """Added to each step: a network of a known speed."""

    short_at: int = 0
    """The batch in whose backward pass memory runs out on rank 1, where more than four examples come at once."""


class Other(Recipe):
    """A second recipe."""

    depth: int = 1


class ToyItem(BaseModel):
    """Nothing."""


def cases(count: int = 150, seed: int = 0) -> ImageSet:
    """Images of noise; of the second class where the left half is brighter. 4 of 6 parts are for training."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, 4, 4)).astype(np.uint8)
    labels = (images[:, :, :2].mean(axis=(1, 2)) > images[:, :, 2:].mean(axis=(1, 2))).astype(np.int64)
    split = np.array([TRAIN, TRAIN, TRAIN, TRAIN, VALIDATION, TEST], np.uint8)[np.arange(count) % 6]
    return ImageSet(
        split=split, key=np.arange(count, dtype=np.uint64), images=images, labels=labels,
        patient=np.arange(count), classes=("dark", "bright"),
    )  # fmt: skip


def no_room(gradient: Tensor) -> None:
    """Called in a backward pass."""
    raise torch.OutOfMemoryError("no room")


class ToyTask(Task):
    """Dropout, batch normalisation, noise on every batch, an average, clipping and a falling learning rate."""

    calls = 0
    """Of `loss`."""

    def __init__(self, data: ImageSet, recipe: ToyRecipe) -> None:
        self.recipe = recipe
        train, check = data.take(data.part(TRAIN)), data.take(data.part(VALIDATION))
        self.x, self.y = pixels(train), torch.from_numpy(train.labels)
        self.held_x, self.held_y = pixels(check), torch.from_numpy(check.labels)
        self.examples, self.batch_size = len(self.y), recipe.batch
        self.ema, self.clip, self.precision = recipe.ema, recipe.clip, recipe.precision  # type: ignore[assignment]
        self.monitor, self.patience = ("accuracy", recipe.patience) if recipe.patience is not None else (None, None)

    def build(self) -> nn.Module:
        norm: nn.Module = nn.BatchNorm1d(12) if self.recipe.norm else nn.Identity()
        return nn.Sequential(nn.Linear(16, 12), norm, nn.ReLU(), nn.Dropout(self.recipe.dropout), nn.Linear(12, 2))

    def batch(self, index: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        noise = torch.randn(len(index), 16, generator=generator) * self.recipe.noise
        return self.x[index] + noise, self.y[index]

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        if self.recipe.pause_s:
            import time

            time.sleep(self.recipe.pause_s)
        scores = network(batch[0]).float()
        self.calls += 1
        if self.calls == self.recipe.short_at and len(scores) > 4 and torch.distributed.get_rank() == 1:
            scores.register_hook(no_room)
        return nn.functional.cross_entropy(scores, batch[1])

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.AdamW(network.parameters(), lr=0.02, weight_decay=0.01)

    def schedule(self, done: float) -> float:
        return 1 - 0.9 * done

    def validate(self, network: nn.Module) -> dict[str, float]:
        return {"accuracy": float((network(self.held_x).argmax(1) == self.held_y).float().mean())}


def pixels(data: ImageSet) -> Tensor:
    """(N, 16) in [-1, 1]."""
    return torch.from_numpy(data.images.reshape(len(data), -1)).float() / 127.5 - 1


def train(session: Session) -> NewVersion:
    """Fits side by side and a stage that is no network, as a kind's trainer does it."""
    recipe = session.recipe
    assert isinstance(recipe, ToyRecipe)
    assert isinstance(session.data, ImageSet)
    tasks = {f"member-{n}": ToyTask(session.data, recipe) for n in range(recipe.fits)}
    session.plan({label: Planned(task, recipe.epochs) for label, task in tasks.items()})
    networks = {label: session.fit(label, task, recipe.epochs) for label, task in tasks.items()}
    counted = session.once("counting", lambda: {"counts.txt": str(session.data.counts()).encode()})
    state = {f"{label}.{name}": value for label, one in networks.items() for name, value in one.state_dict().items()}
    weights = to_bytes(state)
    figure = {"value": 0.9, "low": 0.8, "high": 0.95}
    manifest: dict[str, Any] = {
        "metrics": {"test": {"n": 25, "accuracy": figure}, "mean": {"accuracy": 0.9}, "undefined": float("nan")},
        "baseline": {"name": "coin", "mean": {"accuracy": 0.5}, "beaten": True},
        "card": {"intended_use": "Tests."},
    }
    return NewVersion(
        session.name, "toy-fit", manifest, {"weights.safetensors": weights, "plot.svg": b"<svg/>", **counted}
    )


KIND = Kind(
    name="toy-fit",
    summary="A network of a few hundred weights.",
    params=Params,
    item=ToyItem,
    predictor="tests.training_toy:none",
    trainer="tests.training_toy:train",
    recipes={"plain": ToyRecipe, "other": Other},
    formats=("images",),
)


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """The kind as an installed package declares it: in this process and in those that it starts."""
    info = folder / "toy_fit-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-fit\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[medjobs.kinds]\ntoy-fit = tests.training_toy:KIND\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{folder}:{ROOT}")
        patch.syspath_prepend(str(folder))
        registry.kinds.cache_clear()
        yield
    registry.kinds.cache_clear()


class Interrupted(LocalWork):
    """Work that is told to stop after so many steps of an attempt; those that measure the speed do not count."""

    def __init__(self, seed: int = 5, stop_after: int | None = None) -> None:
        super().__init__(seed)
        self.stop_after, self.steps, self.resumes = stop_after, 0, True

    def step(self) -> None:
        self.steps += self.checkpoints.newest() is not None
        if self.stop_after is not None and self.steps > self.stop_after:
            raise Stop(resumes=self.resumes)


def job(folder: Path, data: ImageSet | None = None, seed: int = 5, **params: Any) -> Interrupted:
    """Work for models.training.run: its data set lies in `folder`."""
    made = cases() if data is None else data
    place = folder / "data"
    place.mkdir(parents=True, exist_ok=True)
    for name, content in dump(made).items():
        (place / name).write_bytes(content)
    work = Interrupted(seed)
    work.folder = folder
    work.params = TrainingParams.model_validate({"kind": "toy-fit", "dataset": "noise", **params})
    facts: Mapping[str, Any] = {"format": "medmnist", "counts": made.counts()}
    work.datasets = {"dataset": DataSet("noise", fingerprint(made), "medmnist", place, facts)}
    return work


def sha256(content: bytes) -> str:
    """For comparing weights in a message that can be read."""
    return hashlib.sha256(content).hexdigest()
