"""Made-up screening data: simple molecules built from frames and side chains, active where they can bind one thing."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from jobs.predicting import ModelVersion
from jobs.training import NewVersion
from models.data import splitting
from models.data.canonical import MoleculeSet
from models.screening.recipes import Boosting
from models.screening.trainer import train
from models.training.export import export
from models.training.session import Session

FRAMES = (
    "c1ccc({})cc1", "c1ccnc({})c1", "C1CCC({})CC1", "C1CCN({})CC1", "c1ccc2cc({})ccc2c1", "c1csc({})c1", "C1COC({})C1",
    "c1cc({})oc1", "C1CC({})C1", "c1cnc({})nc1",
)  # fmt: skip
CHAINS = (
    "C", "CC", "CCC", "C(C)C", "CCO", "CCN", "C(=O)O", "C(=O)N", "C(=O)OC", "CC(=O)O", "CC(=O)N", "CCCO", "CCCN",
    "C(F)(F)F", "CCCl", "C#N", "CC#N", "COC", "CSC", "C(=O)C", "CCCC", "CCCCC", "CC(C)C", "CCC(=O)O", "CCC(=O)N",
    "CCOC", "CCSC", "CNC", "CN(C)C", "CC(C)O",
)  # fmt: skip


def smiles() -> list[str]:
    """300 molecules, each another."""
    return [frame.format(chain) for frame in FRAMES for chain in CHAINS]


def active(text: str) -> int:
    """Acids and amides are active, whatever the frame."""
    return int("C(=O)O" in text or "C(=O)N" in text)


def dataset(targets: int = 1) -> MoleculeSet:
    """Of `targets` targets: acids and amides, then all with an oxygen, of which a fifth was not measured."""
    every = smiles()
    labels = np.array([[active(one), int("O" in one)][:targets] for one in every], dtype=np.float32)
    if targets > 1:
        labels[::5, 1] = np.nan
    place = np.arange(len(every))
    split = np.array([0, 0, 0, 1, 2], dtype=np.uint8)[(place + place // len(CHAINS)) % 5]
    names = ("acid or amide", "oxygen")[:targets]
    return MoleculeSet(split=split, key=splitting.keys(every), smiles=tuple(every), labels=labels, targets=names)


def numbers(targets: int = 1) -> MoleculeSet:
    """The same molecules with numbers that are known: 2, 3 more for an acid or amide, and a third less per carbon; then
    a thousand per oxygen, of which a fifth was not measured."""
    classes = dataset(targets)
    labels = [[known(text), 1000.0 * text.upper().count("O")][:targets] for text in classes.smiles]
    found = np.where(np.isnan(classes.labels), np.nan, np.array(labels)).astype(np.float32)
    names, units = ("solubility", "dose")[:targets], ("log mol/l", "mg")[:targets]
    return replace(classes, labels=found, targets=names, numbers=True, units=units)


def known(text: str) -> float:
    """The first of those numbers."""
    return 2.0 + 3.0 * active(text) - text.upper().replace("CL", "").count("C") / 3


@cache
def trained(targets: int = 1, of_numbers: bool = False) -> NewVersion:
    """Boosted trees of two seeds, once a process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        recipe = Boosting(seeds=2, rounds=20, least_in_leaf=3, learning_rate=0.2)
        data = numbers(targets) if of_numbers else dataset(targets)
        return train(Session.local(data, recipe, seed=0))
    finally:
        torch.set_num_threads(threads)


def version(folder: Path, targets: int = 1, of_numbers: bool = False) -> ModelVersion:
    """Write it to `folder` as version 1 of a model."""
    made = trained(targets, of_numbers)
    # A process keeps the version that it used last, by name and number: other versions have other names.
    name = f"made-up-numbers-{targets}" if of_numbers else "made-up"
    manifest = {**made.manifest, "name": name, "kind": "screening"}
    weights = made.files["weights.safetensors"]
    manifest["weights"] = {"file": "weights.safetensors", "sha256": hashlib.sha256(weights).hexdigest()}
    place = export(folder, manifest, made.files, 1)
    return ModelVersion(name, 1, "screening", place, manifest)
