"""`train(session)`: a data set of molecules and a recipe become a screening version.

The test part is read once, after every choice; a copy of the data without it gives the same weights and a manifest
without figures of the test part.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from jobs.errors import DatasetInvalid
from jobs.training import NewVersion
from models.data.canonical import TEST, TRAIN, VALIDATION, MoleculeSet
from models.prediction import evaluate
from models.screening import card, measuring, members, preparing, version
from models.screening.measuring import Measured
from models.screening.members import BASELINE, Fitted
from models.screening.published import PUBLISHED
from models.screening.recipes import RECIPES, ScreeningRecipe
from models.training.session import Session

LEAST = 5
"""Molecules of each class that the training and the validation part need of one target at least."""


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
    manifest["summary"] = f"Probability of {_named(data.targets)} from a molecule's structure, recipe {name}."
    asked = getattr(session.work.params, "name", None)
    return NewVersion(asked or session.dataset.name, "screening", manifest, files)


def _named(targets: tuple[str, ...]) -> str:
    return targets[0] if len(targets) == 1 else f"{len(targets)} targets"


def _enough(data: MoleculeSet) -> None:
    """One target at least must have both classes on both sides; more than 0 and 1 is another task."""
    known = data.labels[~np.isnan(data.labels)]
    if not np.isin(known, (0, 1)).all():
        raise DatasetInvalid("Screening learns targets of 0 and 1; this data set has other numbers.")
    for column in data.labels.T:
        counts = [
            min(int((column[data.split == part] == value).sum()) for value in (0, 1)) for part in (TRAIN, VALIDATION)
        ]
        if min(counts) >= LEAST:
            return
    raise DatasetInvalid(
        f"Training needs a target with at least {LEAST} molecules of each class in the training part and in the "
        "validation part."
    )


def _described(session: Session, data: MoleculeSet, fitted: Fitted) -> dict[str, Any]:
    """The manifest without what the test part says."""
    validation, blending = fitted.validation, fitted.ensemble.blending
    p = blending.probability(fitted.seen.mean(axis=1))
    seen = measuring.cases(data, validation, p)
    handled = preparing.handling((fitted.training, validation))
    labels = []
    for column, target in enumerate(data.targets):
        known = ~np.isnan(validation.labels[:, column])
        y = validation.labels[known, column].astype(np.float64)
        threshold = evaluate.threshold(y, p[known, column]) if y.any() else 0.5
        labels.append({"name": target, "threshold": round(threshold, 6)})
    return {
        **version.parts(fitted),
        "labels": labels,
        "groups": {"target": list(data.targets)} if len(data.targets) > 1 else {},
        "seeds": list(range(len(fitted.plain))),
        "calibration": {
            "method": "logistic regression on the blend's logit, by target",
            "part": "validation, which chose the weights of the parts too",
            "ece": evaluate.figures(seen)["ece"],
        },
        "metrics": {"validation": evaluate.figures(seen), "test": None, "seeds": [], "mean": {}},
        "baseline": {"name": BASELINE, "mean": {}},
        "data": {**PUBLISHED.get(session.dataset.fingerprint, {}), "handling": handled},
        "card": dict(card.words(data.targets, handled)),
    }
