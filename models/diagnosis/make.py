"""`python -m models.diagnosis.make NAME --data FOLDER`: train, calibrate, audit and write a shipped model.

Everything is fixed by models/diagnosis/recipes.py and the seeds: the same library versions, threads and processor
family give the same weights, others give weights of the same quality. The test part is read once, after every choice;
a copy of the data without its test part makes the same weights and a manifest without test figures.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from models.data.medmnist import DataSet, Part, read, shared_with
from models.diagnosis import shipping
from models.diagnosis.networks import Network, build
from models.diagnosis.recipes import SHIPPED, Shipped
from models.diagnosis.trainer import Progress, Recipe, train

THREADS = 2
"""torch threads of the shipped weights: the order of a sum, and so its last bit, depends on them."""


@dataclass(frozen=True)
class Trained:
    """The networks of every seed, the model's own and those of the simple baseline."""

    part: Part
    """The training part, without images that validation holds as well."""

    own: dict[int, Network]
    baseline: dict[int, Network]


def train_all(model: Shipped, data: DataSet, seeds: tuple[int, ...], keep: Path | None) -> Trained:
    """Train every seed; with `keep`, finished networks are stored there and not trained again."""
    part = data.train.take(np.asarray(~shared_with(data.train, data.validation)))
    own: dict[int, Network] = {}
    baseline: dict[int, Network] = {}
    for seed in seeds:
        numbers = range(seed * model.members, (seed + 1) * model.members)
        members = [_one(model, model.recipe, part, n, _kept(keep, model.name, n)) for n in numbers]
        own[seed] = members[0] if model.members == 1 else _together(model, members)
        simple = Recipe.baseline(model.baseline_epochs)
        baseline[seed] = _one(model, simple, part, seed, _kept(keep, f"{model.name}-baseline", seed))
    return Trained(part, own, baseline)


def _together(model: Shipped, members: list[Network]) -> Network:
    """Return the trained members as one network."""
    name, config = model.network
    network = build(name, len(model.classes), config)
    state = {f"members.{n}.{key}": value for n, one in enumerate(members) for key, value in one.state_dict().items()}
    network.load_state_dict(state)
    return network.eval()


def _kept(folder: Path | None, name: str, seed: int) -> Path | None:
    return None if folder is None else folder / f"{name}-{seed}.safetensors"


def _one(model: Shipped, recipe: Recipe, part: Part, seed: int, kept: Path | None) -> Network:
    """Return one trained network, from `kept` where it is there."""
    if kept is not None and kept.exists():
        network = build(recipe.architecture, len(model.classes), recipe.options)
        network.load_state_dict(safetensors.torch.load_file(kept))
        return network.eval()
    begun = time.monotonic()

    def tell(progress: Progress) -> None:
        where = f"seed {seed}, epoch {progress.epoch} of {recipe.epochs}"
        print(f"\r  {recipe.architecture}, {where}, loss {progress.loss:.4f}, {progress.eta:.0f} s left   ", end="")

    network = train(part, len(model.classes), recipe, seed, tell)
    print(f"\r  {recipe.architecture}, seed {seed}: trained in {time.monotonic() - begun:.0f} s{' ' * 40}", flush=True)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file({k: v.contiguous() for k, v in network.state_dict().items()}, kept)
    return network


def main(arguments: list[str] | None = None) -> int:
    """Parse the arguments, train, and write `<out>/<name>/<version>/`."""
    parser = argparse.ArgumentParser(prog="python -m models.diagnosis.make", description=__doc__)
    parser.add_argument("name", choices=sorted(SHIPPED), help="which shipped model")
    parser.add_argument("--data", type=Path, required=True, help="the npz file, or the folder that holds it")
    parser.add_argument("--seeds", help="comma-separated; by default those of the recipe")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "shipped")
    parser.add_argument("--version", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for trained networks, so that a broken run can go on")
    chosen = parser.parse_args(arguments)
    model = SHIPPED[chosen.name]
    path = chosen.data / model.file if chosen.data.is_dir() else chosen.data
    seeds = tuple(int(seed) for seed in chosen.seeds.split(",")) if chosen.seeds else model.seeds
    torch.set_num_threads(THREADS)
    data = read(path)
    trained = train_all(model, data, seeds, chosen.keep)
    folder = shipping.ship(model, data, trained.part, trained.own, trained.baseline, chosen.out, chosen.version)
    print((folder / "card.md").read_text())
    print(f"written to {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
