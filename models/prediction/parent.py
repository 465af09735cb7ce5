"""A parent version as the start of a training: its encoder is kept, and its networks are what the fits begin with.

A patient's inner fold follows from the patient's id alone, and member m was trained without fold m. The new member m
starts from the parent's member m, so that the patients who weigh and calibrate it stay unseen, whichever data sets the
two were trained on. Trees are made anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import nn

from jobs.errors import InputError
from models.data.canonical import SequenceSet
from models.prediction import ensemble
from models.prediction.encoding import Encoder
from models.prediction.ensemble import RiskEnsemble, SurvivalEnsemble
from models.prediction.recipes import BinaryRecipe, SurvivalRecipe
from models.prediction.tasks import HazardTask, RiskTask
from models.training.session import Session


def risk(session: Session, data: SequenceSet, recipe: BinaryRecipe) -> RiskEnsemble | None:
    """Return the parent of a training for an outcome of yes or no, None without one; raises `InputError`."""
    if session.parent is None:
        return None
    if set(recipe.parts) == {"boosting"}:
        raise InputError("Boosted trees are made anew and start from no parent; take another recipe, or no parent.")
    found = ensemble.load(session.parent)
    if not isinstance(found, RiskEnsemble):
        raise InputError("The parent is for an event at an unknown time, and this outcome is yes or no.")
    _same_inputs(found.encoder, data)
    asked = (recipe.bins, recipe.horizon or found.encoder.horizon)
    if (found.encoder.bins, found.encoder.horizon) != asked:
        raise InputError(
            f"The parent reads {found.encoder.bins} bins to {found.encoder.horizon:g} {data.unit}; set bins and "
            "horizon to that, or take no parent."
        )
    return found


def survival(session: Session, data: SequenceSet, recipe: SurvivalRecipe) -> SurvivalEnsemble | None:
    """Return the parent of a training for an event at an unknown time, None without one; raises `InputError`."""
    if session.parent is None:
        return None
    found = ensemble.load(session.parent)
    if not isinstance(found, SurvivalEnsemble):
        raise InputError("The parent's outcome is yes or no, and this one is an event at an unknown time.")
    _same_inputs(found.encoder, data)
    if (found.encoder.bins, len(found.ends) - 1) != (recipe.visits, recipe.intervals):
        raise InputError(
            f"The parent reads {found.encoder.bins} visits and has {len(found.ends) - 1} intervals; set visits and "
            "intervals to that, or take no parent."
        )
    return found


def begin(
    tasks: Mapping[str, RiskTask] | Mapping[str, HazardTask], networks: Mapping[str, Sequence[nn.Module]],
    parts: Iterable[str], folds: int,
) -> None:  # fmt: skip
    """Have each fit "<part>-<fold>" of `tasks` start from the parent's network of that part and fold.

    Raises `InputError` where the parent has another number of them, or of another architecture.
    """
    for part in parts:
        members = networks.get(part, ())
        if len(members) != folds:
            raise InputError(
                f"The parent has {len(members)} networks of the architecture {part}, and this recipe trains {folds}, "
                "one for each inner fold: take a recipe of the same parts and folds, or no parent."
            )
        for fold, network in enumerate(members):
            task = tasks[f"{part}-{fold}"]
            if _shapes(task.build()) != _shapes(network):
                raise InputError(
                    f"The parent's {part} has other sizes than this recipe builds: take its settings, or no parent."
                )
            task.start = network


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items()}


def _same_inputs(encoder: Encoder, data: SequenceSet) -> None:
    parents = [tuple(one.name for one in scales) for scales in (encoder.variables, encoder.statics)]
    if (encoder.unit, *parents) != (data.unit, data.variables, data.statics):
        raise InputError(
            "The parent reads other variables, static values or another unit of time than the data set has; train "
            "without it."
        )
