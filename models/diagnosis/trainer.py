"""`train(session)`: a data set of images and a recipe become a diagnosis version, as models.md asks.

The test part is read once, after every choice; a copy of the data without it gives the same weights and a manifest
without test figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from torch import nn

from jobs.errors import DatasetInvalid, InputError
from jobs.training import NewVersion
from models.data.canonical import TEST, TRAIN, VALIDATION, ImageSet
from models.diagnosis.fitting import ImageTask, architecture, baseline, together
from models.diagnosis.networks import Network
from models.diagnosis.recipes import DiagnosisRecipe
from models.diagnosis.version import AUDITED, Trained, described
from models.diagnosis.weights import load_version
from models.synthesis.mixing import real
from models.training.plan import Cost
from models.training.session import Session
from models.training.task import Planned

AUDIT_PASSES = 45
"""Passes through the network that the audit of the maps makes for each of its images, about."""


@dataclass(frozen=True)
class Parts:
    """The parts of a data set of two classes; `dropped` training images stand in the validation part as well."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet | None
    dropped: int
    positive: int


def train(session: Session) -> NewVersion:
    """Train every seed and the simple baseline beside each, and describe the result. Raises `Stop`."""
    recipe = cast(DiagnosisRecipe, session.recipe)
    parts = parted(cast(ImageSet, session.data), recipe)
    start = _start(session, recipe, parts)
    simple = baseline(recipe)
    fits: dict[str, Planned] = {}
    for seed in range(recipe.seeds):
        for member in range(recipe.members):
            task = ImageTask(parts.train, parts.validation, recipe, parts.positive, start)
            fits[_label(seed, member, recipe)] = Planned(task, recipe.epochs)
        task = ImageTask(parts.train, parts.validation, simple, parts.positive)
        fits[f"baseline-{seed}"] = Planned(task, simple.epochs)
    session.plan(fits, lambda cost: evaluation_s(cost, recipe, parts))
    own, plain = {}, {}
    for seed in range(recipe.seeds):
        labels = [_label(seed, member, recipe) for member in range(recipe.members)]
        members = [_fitted(session, label, fits[label]) for label in labels]
        own[seed] = members[0] if recipe.members == 1 else together(members, parts.train)
        plain[seed] = _fitted(session, f"baseline-{seed}", fits[f"baseline-{seed}"])
    # What is familiar, and the mean image that maps are held against, are those of real people.
    trained = Trained(real(parts.train, session.virtual), parts.validation, parts.test, parts.dropped, own, plain)
    return described(session, recipe, trained, parts.positive)


def evaluation_s(cost: Mapping[str, Cost], recipe: DiagnosisRecipe, parts: Parts) -> float:
    """Seconds that calibration, audit and test part will take, from what one look at the validation part took."""
    tested = len(parts.validation) + (0 if parts.test is None else len(parts.test))
    sick = int((parts.validation.labels == parts.positive).sum())
    audited = min(sick, AUDITED[0]) + min(len(parts.validation) - sick, AUDITED[1])
    own = cost[_label(0, 0, recipe)].epoch_s * recipe.members / len(parts.validation)
    plain = cost["baseline-0"].epoch_s / len(parts.validation)
    passes = len(parts.train) + recipe.seeds * tested + AUDIT_PASSES * audited
    return own * passes + plain * recipe.seeds * tested


def parted(data: ImageSet, recipe: DiagnosisRecipe) -> Parts:
    """The parts, as two classes: the finding and the rest.

    Raises `InputError` where the recipe does not fit, `DatasetInvalid` where a part lacks a class.
    """
    if recipe.architecture == "resnet18" and recipe.members > 1:
        raise InputError("Only cnn-basic is averaged: set members to 1, or take the recipe cnn-basic-ensemble.")
    data, positive = _two_classes(data, recipe.positive or data.positive)
    parts = [data.take(data.part(which)) for which in (TRAIN, VALIDATION, TEST)]
    train, validation, test = parts
    shared = _shared(train, validation)
    train = train.take(~shared)
    for name, part in (("training", train), ("validation", validation), ("test", test)):
        if len(np.unique(part.labels)) < 2 and (len(part) or name != "test"):
            raise DatasetInvalid(f"The {name} part does not hold both classes: nothing can be learnt or measured.")
    return Parts(train, validation, test if len(test) else None, int(shared.sum()), positive)


def _two_classes(data: ImageSet, wanted: str | None) -> tuple[ImageSet, int]:
    """The set with two classes and the index of the finding; of more classes the others become one."""
    if wanted is not None and wanted not in data.classes:
        raise InputError(f"The data set has no class of that name; positive is one of: {', '.join(data.classes)}.")
    if len(data.classes) == 2:
        return data, 1 if wanted is None else data.classes.index(wanted)
    if wanted is None:
        detail = "This kind answers one finding, and the data set has more than two classes: say which one is positive"
        raise InputError(f"{detail} (recipe setting `positive`; the others become one class).")
    labels = (data.labels == data.classes.index(wanted)).astype(np.int64)
    return replace(data, labels=labels, classes=(f"not {wanted}", wanted), positive=wanted), 1


def _shared(part: ImageSet, other: ImageSet) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """A mask over `part`, (N,): True where the very same image stands in `other` as well."""
    seen = {image.tobytes() for image in other.images}
    return np.array([image.tobytes() in seen for image in part.images], dtype=bool)


def _label(seed: int, member: int, recipe: DiagnosisRecipe) -> str:
    return f"network-{seed}" if recipe.members == 1 else f"network-{seed}.{member}"


def _fitted(session: Session, label: str, planned: Planned) -> Network:
    network: nn.Module = session.fit(label, planned.task, planned.epochs)
    return cast(Network, network)


def _start(session: Session, recipe: DiagnosisRecipe, parts: Parts) -> Network | None:
    """The parent's network, from which training then goes on; it must be the one that the recipe builds."""
    if session.parent is None:
        return None
    name, classes, options = architecture(recipe, parts.train)
    manifest = session.parent.manifest
    mine = {"name": name, "config": options}
    if manifest["network"] != mine or len(manifest["classes"]) != classes:
        detail = "The parent has another network than this recipe builds; take a recipe of the same architecture"
        raise InputError(f"{detail}, width and image size, or no parent.")
    return load_version(session.parent)[0]
