"""`train(session)`: a data set of molecules and a recipe become a screening version.

The test part is read once, after every choice; a copy of the data without it gives the same weights and a manifest
without figures of the test part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from jobs.errors import DatasetInvalid
from jobs.training import NewVersion
from models.data.canonical import TEST, TRAIN, VALIDATION, MoleculeSet
from models.prediction import evaluate
from models.screening import card, interval, measuring, members, preparing, version
from models.screening import outcome as outcomes
from models.screening.ensemble import Ensemble
from models.screening.measuring import Measured
from models.screening.members import BASELINE, Fitted
from models.screening.published import PUBLISHED
from models.screening.recipes import RECIPES, ScreeningRecipe
from models.training.session import Session

Floats = NDArray[np.float64]
Labels = NDArray[np.float32]

LEAST, LEAST_NUMBERS = 5, 10
"""Molecules of each class, or measurements, that the training and the validation part need of one target at least."""


def train(session: Session) -> NewVersion:
    """Train and describe a version. Raises `Stop`, and `DatasetInvalid` where there is too little to learn from."""
    data, recipe = cast(MoleculeSet, session.data), cast(ScreeningRecipe, session.recipe)
    _enough(data)
    fitted = members.fit(session, recipe)
    session.say("evaluating")
    manifest, files = _described(session, data, fitted), version.files(fitted)
    test = preparing.read(data, TEST)
    if len(test):
        found = Measured(fitted, data, test, session.seed)
        files["cases.npz"] = evaluate.packed(found.cases)
        manifest["metrics"].update(found.metrics())
        manifest["baseline"] = found.baseline(manifest["metrics"])
    name = next(name for name, known in RECIPES.items() if type(recipe) is known)
    manifest["recipe"] = {"name": name, "settings": recipe.model_dump(mode="json")}
    what = "Estimate of" if data.numbers else "Probability of"
    manifest["summary"] = f"{what} {_named(data.targets)} from a molecule's structure, recipe {name}."
    asked = getattr(session.work.params, "name", None)
    return NewVersion(asked or session.dataset.name, "screening", manifest, files)


def _named(targets: tuple[str, ...]) -> str:
    return targets[0] if len(targets) == 1 else f"{len(targets)} targets"


def _enough(data: MoleculeSet) -> None:
    """One target at least must tell something on both sides; what is no class must be declared as a number."""
    known = data.labels[~np.isnan(data.labels)]
    if not data.numbers and not np.isin(known, (0, 1)).all():
        raise DatasetInvalid(
            "Targets of 0 and 1 are learnt as classes, and this data set has other numbers: register it again with the "
            "option values=numbers to learn them as measurements."
        )
    outcome, least = outcomes.of(data), LEAST_NUMBERS if data.numbers else LEAST
    sides = [data.labels[data.split == part] for part in (TRAIN, VALIDATION)]
    if any(min(outcome.known(side[:, column]) for side in sides) >= least for column in range(len(data.targets))):
        return
    what = "molecules of each class" if not data.numbers else "measurements, not all alike,"
    raise DatasetInvalid(
        f"Training needs a target with at least {least} {what} in the training part and in the validation part."
    )


def _described(session: Session, data: MoleculeSet, fitted: Fitted) -> dict[str, Any]:
    """The manifest without what the test part says."""
    validation, ensemble = fitted.validation, fitted.ensemble
    answer = ensemble.blending.answer(fitted.seen.mean(axis=1))
    seen = measuring.cases(data, validation, answer, fitted.outcome, measuring.judged_in(fitted.scale))
    figures = evaluate.figures(seen)
    handled = preparing.handling((fitted.training, validation))
    return {
        **version.parts(fitted),
        "labels": [_label(ensemble, validation.labels[:, n], answer[:, n], n) for n in range(len(data.targets))],
        "groups": {"target": list(data.targets)} if len(data.targets) > 1 else {},
        "seeds": list(range(len(fitted.plain))),
        "calibration": _calibration(ensemble, figures),
        "metrics": {"validation": {**figures, **measuring.seen(fitted)}, "test": None, "seeds": [], "mean": {}},
        "baseline": {"name": BASELINE, "mean": {}},
        "data": {**PUBLISHED.get(session.dataset.fingerprint, {}), "handling": handled},
        "card": dict(card.words(data.targets, handled, data.numbers)),
    }


def _label(ensemble: Ensemble, measured: Labels, answer: Floats, number: int) -> dict[str, Any]:
    """A target: where a class is called, or the unit of a number."""
    target = ensemble.targets[number]
    if ensemble.outcome.name == "numbers":
        return {"name": target, "unit": ensemble.unit(target) or None}
    known = ~np.isnan(measured)
    y = measured[known].astype(np.float64)
    threshold = evaluate.threshold(y, answer[known]) if y.any() else 0.5
    return {"name": target, "threshold": round(threshold, 6)}


def _calibration(ensemble: Ensemble, figures: Mapping[str, Any]) -> dict[str, Any]:
    part = "validation, which chose the weights of the parts too"
    if ensemble.half is None:
        how = "logistic regression on the blend's logit, by target"
        return {"method": how, "part": part, "ece": figures["ece"]}
    how = "least squares on the blend's number, by target; intervals by split conformal prediction, fitted crosswise"
    return {"method": how, "part": part, "level": interval.LEVEL}
