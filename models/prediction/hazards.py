"""The fitting of a survival model: one network per inner fold, on what followed every visit, and the course beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from jobs.errors import DatasetInvalid
from models.data.canonical import TEST, SequenceSet
from models.prediction import course, features, parent, survival
from models.prediction.encoding import Batch, Encoder
from models.prediction.ensemble import SurvivalEnsemble
from models.prediction.familiar import Familiar
from models.prediction.members import inner_folds, known_limits, tree_seed
from models.prediction.recipes import DiscreteTimeSurvival, LinearSurvival, SurvivalRecipe
from models.prediction.tasks import HazardTask
from models.training.session import Session
from models.training.task import Planned

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """A survival model and what it was fitted on; `plain` is the linear one on the same folds (None: it is that)."""

    ensemble: SurvivalEnsemble
    plain: SurvivalEnsemble | None
    texts: tuple[str, ...]
    config: Mapping[str, Any]
    rows: NDArray[np.intp]
    batch: Batch
    inner: NDArray[np.int64]


def fit(session: Session, recipe: SurvivalRecipe) -> Fitted:
    """Fit a survival model to the training and validation parts; the test part is not touched."""
    data = session.data
    assert isinstance(data, SequenceSet)
    assert data.duration is not None
    assert data.event is not None
    rows = np.flatnonzero(data.split != TEST)
    begun = parent.survival(session, data, recipe)
    encoder = begun.encoder if begun else Encoder.fit(data, rows, None, recipe.visits, known_limits(session))
    batch, inner = encoder.encode_set(data, rows), inner_folds(data, rows, recipe.folds)
    duration, event = data.duration[rows].astype(np.float64), data.event[rows].astype(np.float64)
    ends = begun.ends if begun else survival.edges(duration, recipe.intervals)
    forms: dict[str, SurvivalRecipe] = {"survival-gru": recipe}
    if not isinstance(recipe, LinearSurvival):
        shared = recipe.model_dump(include=set(SurvivalRecipe.model_fields))
        forms["linear"] = LinearSurvival(**shared)
    followed = survival.followed(batch.time, duration, event, ends)
    if not all(followed[1][inner != fold].any() for fold in range(recipe.folds)):
        raise DatasetInvalid("Hardly any event is seen after a visit: are visits and durations counted from one start?")
    tasks = {
        f"{form}-{fold}": _task(encoder, batch, followed, ends, settings, inner != fold)
        for form, settings in forms.items()
        for fold in range(recipe.folds)
    }
    if begun is not None:
        parent.begin(tasks, {"survival-gru": begun.networks}, ["survival-gru"], recipe.folds)
    session.plan({name: Planned(task, task.settings.epochs) for name, task in tasks.items()})
    networks: dict[str, list[nn.Module]] = {form: [] for form in forms}
    for name, task in tasks.items():
        networks[name.rpartition("-")[0]].append(session.fit(name, task, task.settings.epochs))
    told = np.array(sorted(set(recipe.horizons or survival.horizons(duration, event, float(ends[-1])))))
    familiar = Familiar.fit(features.profile(batch))
    next_value, texts = _course(session, recipe, encoder, batch, inner, duration, event)
    ensemble = SurvivalEnsemble(encoder, networks["survival-gru"], ends, told, familiar, next_value)
    plain = SurvivalEnsemble(encoder, networks["linear"], ends, told, familiar) if "linear" in forms else None
    return Fitted(ensemble, plain, tuple(texts), tasks["survival-gru-0"].config, rows, batch, inner)


def _task(
    encoder: Encoder, batch: Batch, followed: tuple[Floats, Floats], ends: Floats, recipe: SurvivalRecipe,
    train: NDArray[np.bool_],
) -> HazardTask:  # fmt: skip
    at_risk, event = (torch.from_numpy(part.astype(np.float32)) for part in followed)
    recurrent = recipe if isinstance(recipe, DiscreteTimeSurvival) else None
    config = {
        "variables": len(encoder.variables),
        "statics": len(encoder.statics),
        "intervals": recipe.intervals,
        "span": float(ends[-1]),
        "hidden": recurrent.hidden if recurrent else 0,
        "dropout": recurrent.dropout if recurrent else 0.0,
    }
    return HazardTask(config, batch, torch.from_numpy(np.flatnonzero(train)), at_risk, event, recipe)


def _course(
    session: Session, recipe: SurvivalRecipe, encoder: Encoder, batch: Batch, inner: NDArray[np.int64],
    duration: Floats, event: Floats,
) -> tuple[course.Course | None, list[str]]:  # fmt: skip
    """The course of the variable that the recipe names, or that says most of the outcome; none where too few visits
    have a next one."""
    names = [one.name for one in encoder.variables]
    variable = names.index(recipe.course) if recipe.course else course.chosen(encoder, batch, duration, event)
    if not course.teachable(batch, variable, inner):
        session.work.log("No course: in too few visits is its variable measured again.")
        return None, []

    def make() -> dict[str, bytes]:
        texts = course.fit(batch, variable, inner, tree_seed(session, "course"))
        return {f"{number}": text.encode() for number, text in enumerate(texts)}

    made = session.once("course", make)
    texts = [made[str(number)].decode() for number in range(len(made))]
    return course.interval(batch, encoder.variables[variable], variable, inner, texts), texts
