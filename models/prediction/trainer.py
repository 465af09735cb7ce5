"""`train(session)`: a data set of sequences and a recipe become a prediction version.

The outcome decides: of yes or no, a stack of recurrent networks and trees; of a time, discrete hazards. The test part
is read once, after every choice; a copy of the data without it gives the same weights and a manifest without figures
of the test part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.errors import DatasetInvalid, InputError
from jobs.training import NewVersion
from models.cases import Cases
from models.data.canonical import TEST, SequenceSet
from models.prediction import card, course, evaluate, hazards, members, plotted, stack, survival, version
from models.prediction.ensemble import SurvivalEnsemble
from models.prediction.recipes import RECIPES, BinaryRecipe, DiscreteTimeSurvival, SequenceRecipe, Stack, SurvivalRecipe
from models.training.session import Session

Floats = NDArray[np.float64]

SPREAD = 0.99
"""Share of the fitting patients whose spread over the members counts as usual. All members but one were trained on each
of them, and no patient is new to two members: how many new patients lie above the limit is not known from the fitting.
"""

LEAST_EVENTS = 20

LANDMARK = "each subject's first visit"
"""Where the figures of a survival model begin to count: every subject has one, at whatever time it was."""


def train(session: Session) -> NewVersion:
    """Train and describe a version. Raises `Stop`, `InputError` where the recipe is for another sort of outcome, and
    `DatasetInvalid` where there is too little to learn from.
    """
    data = evaluate.with_ages(cast(SequenceSet, session.data))
    recipe = fitting(cast(SequenceRecipe, session.recipe), data)
    _enough(data, recipe)
    if isinstance(recipe, SurvivalRecipe):
        manifest, files = _survival(session, data, recipe)
    else:
        manifest, files = _risk(session, data, cast(BinaryRecipe, recipe))
    name = next(name for name, known in RECIPES.items() if type(recipe) is known)
    manifest["recipe"] = {"name": name, "settings": recipe.model_dump(mode="json")}
    manifest["summary"] = f"Risk of {data.outcome} from a patient's course, recipe {name}."
    manifest["groups"] = {group: list(names) for group, names in data.group_names.items()}
    asked = getattr(session.work.params, "name", None)
    return NewVersion(asked or session.dataset.name, "prediction", manifest, files)


def fitting(recipe: SequenceRecipe, data: SequenceSet) -> SequenceRecipe:
    """Return the recipe, or the default one for survival where nothing but the kind's default was asked for."""
    timed = data.duration is not None
    if timed and recipe == Stack():
        return DiscreteTimeSurvival()
    outcome = {"kind": "survival" if timed else "binary"}
    wrong = recipe.misfit({"outcome": outcome, "variables": data.variables})
    if wrong is not None:
        raise InputError(wrong)
    return recipe


def _enough(data: SequenceSet, recipe: SequenceRecipe) -> None:
    """Every inner fold needs both outcomes, and times need to pass."""
    rows = np.flatnonzero(data.split != TEST)
    outcome = data.label if data.label is not None else cast("NDArray[Any]", data.event)
    least = min(int((outcome[rows] > 0).sum()), int((outcome[rows] == 0).sum()))
    if least < max(LEAST_EVENTS, 2 * recipe.folds):
        raise DatasetInvalid(
            f"Training needs at least {max(LEAST_EVENTS, 2 * recipe.folds)} subjects with and without the outcome "
            f"outside the test part; there are {least} of the rarer."
        )
    if data.duration is not None and np.quantile(data.duration[rows], survival.FOLLOWED) <= 0:
        raise DatasetInvalid(
            "The follow-up of nine in ten subjects ends at time 0, so that there is no time to learn from: give the "
            "durations in the unit of the observations' times."
        )


def _risk(session: Session, data: SequenceSet, recipe: BinaryRecipe) -> tuple[dict[str, Any], dict[str, bytes]]:
    fitted = members.fit(session, recipe)
    _evaluating(session, "what the members had not seen")
    seen = evaluate.cases(data, fitted.rows, {"y": fitted.label, "p": fitted.risk})
    files = version.risk_files(fitted)
    test = data.part(TEST)
    metrics: dict[str, Any] = {"validation": {**evaluate.figures(seen), "part": "inner folds, each unseen"}}
    baselines: dict[str, Cases] = {}
    if len(test):
        assert data.label is not None
        _evaluating(session, "the test part, once")
        found, baselines = _answers(fitted, data, test)
        files["cases.npz"] = evaluate.packed(found)
        files.update(plotted.drawn(Cases.read(files["cases.npz"])))
        _evaluating(session, "intervals and subgroups")
        metrics.update(_measured(found, data), seeds=[{"seed": session.seed, **evaluate.values(found)}])
        metrics["mean"] = evaluate.values(found)
        _evaluating(session, "beside the baseline")
        manifest_baseline = _beside(found, baselines)
    else:
        metrics.update(test=None, seeds=[], mean={})
        manifest_baseline = {"name": "lstm-basic", "mean": {}}
    threshold = evaluate.threshold(fitted.label, fitted.risk)
    outcome = {"kind": "binary", "name": data.outcome, "horizons": []}
    return {
        "contract": version.contract(fitted.ensemble.encoder, outcome, None),
        **version.risk_parts(fitted),
        "labels": [{"name": data.outcome, "threshold": threshold}],
        "calibration": {
            "method": "logistic regression on the parts' logits",
            "part": "inner folds, each unseen",
            "threshold_rule": "largest min(sensitivity, positive predictivity) there",
            "spread": _usual_spread(fitted, data),
            "spread_rule": f"{SPREAD:g} quantile over the fitted patients, each known to all members but one",
            "ece": evaluate.figures(seen)["ece"],
        },
        "metrics": metrics,
        "baseline": manifest_baseline,
        "card": dict(card.words(data.unit, data.outcome, list(data.groups), None, None)),
    }, files


def _answers(fitted: members.Fitted, data: SequenceSet, test: NDArray[np.intp]) -> tuple[Cases, dict[str, Cases]]:
    """The model's cases of the test part, and those of the plain baseline and of boosting alone."""
    assert data.label is not None
    batch = fitted.ensemble.encoder.encode_set(data, test)
    y = data.label[test].astype(np.float64)
    own = evaluate.cases(data, test, {"y": y, "p": fitted.ensemble.predict(batch).probability[:, 0]})
    beside: dict[str, Cases] = {}
    if fitted.baseline is not None:
        with torch.no_grad():
            plain = torch.sigmoid(fitted.baseline(batch)).double().numpy()
        beside[members.BASELINE] = evaluate.cases(data, test, {"y": y, "p": plain})
    if "boosting" in fitted.ensemble.parts and len(fitted.ensemble.parts) > 1:
        column = fitted.ensemble.parts.index("boosting")
        logits = fitted.ensemble.parted(batch).mean(axis=0)[:, [column]]
        p = stack.sigmoid(stack.apply(fitted.alone("boosting"), logits))
        beside["boosting"] = evaluate.cases(data, test, {"y": y, "p": p})
    return own, beside


def _evaluating(session: Session, what: str) -> None:
    """Hear a cancel, and say what comes next."""
    session.step()
    session.say("evaluating", what)


def _measured(found: Cases, data: SequenceSet) -> dict[str, Any]:
    return {"test": evaluate.figures(found), "subgroups": evaluate.subgroups(found, data.group_names)}


def _beside(own: Cases, others: Mapping[str, Cases]) -> dict[str, Any]:
    """The first of `others` is the plain baseline; each has its figures and the paired difference of the model."""
    figure = evaluate.names(own)[0]
    found = {
        name: {
            "mean": evaluate.values(one),
            "gain": {figure: evaluate.paired(one, own, figure) for figure in evaluate.names(own)},
            # A figure that has no value, such as a C-index without an event, beats nothing and is not beaten.
            **({} if np.isnan(gap := own.figure(figure)[0] - one.figure(figure)[0]) else {"beaten": bool(gap > 0)}),
        }
        for name, one in others.items()
    }
    if not found:
        return {"name": None, "mean": {}}
    first, *rest = found.items()
    return {"name": first[0], **first[1], "others": dict(rest)}


def _usual_spread(fitted: members.Fitted, data: SequenceSet) -> float:
    batch = fitted.ensemble.encoder.encode_set(data, fitted.rows)
    found = fitted.ensemble.predict(batch).members[:, :, 0].std(axis=0)
    return round(float(np.quantile(found, SPREAD)), 6)


def _survival(session: Session, data: SequenceSet, recipe: SurvivalRecipe) -> tuple[dict[str, Any], dict[str, bytes]]:
    fitted = hazards.fit(session, recipe)
    _evaluating(session, "the test part, once")
    ensemble = fitted.ensemble
    files = version.survival_files(fitted)
    test = data.part(TEST)
    metrics: dict[str, Any] = {"test": None, "seeds": [], "mean": {}}
    baseline: dict[str, Any] = {"name": "linear-survival", "mean": {}}
    if len(test):
        found = cases_at(ensemble, data, test)
        files["cases.npz"] = evaluate.packed(found)
        files.update(plotted.drawn(Cases.read(files["cases.npz"]), float(ensemble.horizons[-1]), data.unit))
        _evaluating(session, "intervals and subgroups")
        metrics = {**_measured(found, data), "mean": evaluate.values(found)}
        metrics["seeds"] = [{"seed": session.seed, **evaluate.values(found)}]
        metrics["landmark"] = LANDMARK
        landmarks = {at: cases_at(ensemble, data, test, at) for at in (0.0, *ensemble.horizons.tolist())}
        metrics["landmarks"] = {
            f"{at:g}": evaluate.values(one) for at, one in landmarks.items() if one.figure("c_index")[0] >= 0
        }
        if ensemble.course is not None:
            metrics["course"] = course.measured(ensemble.course, ensemble.encoder.encode_set(data, test))
        _evaluating(session, "beside the baseline")
        if fitted.plain is not None:
            baseline = _beside(found, {"linear-survival": cases_at(fitted.plain, data, test)})
    outcome = {"kind": "survival", "name": data.outcome, "horizons": ensemble.horizons.tolist()}
    goes_on = None if ensemble.course is None else ensemble.course.scale.name
    about = None if goes_on is None else {"variable": goes_on, "coverage": course.COVERAGE}
    return {
        "contract": version.contract(ensemble.encoder, outcome, about),
        **version.survival_parts(fitted),
        "labels": [{"name": data.outcome}],
        "calibration": {"method": "none: the hazards' likelihood"},
        "metrics": metrics,
        "baseline": baseline,
        "card": dict(card.words(data.unit, data.outcome, list(data.groups), goes_on, LANDMARK)),
    }, files


def cases_at(
    ensemble: SurvivalEnsemble, data: SequenceSet, rows: NDArray[np.intp], landmark: float | None = None
) -> Cases:
    """Return the subjects of `rows` who are still followed at `landmark`: what follows, and the risk at the last
    horizon after their last visit up to then. Time counts from the landmark, by default each subject's first visit.
    """
    assert data.duration is not None
    assert data.event is not None
    batch, duration = ensemble.encoder.encode_set(data, rows), data.duration[rows].astype(np.float64)
    start = batch.time[:, 0] if landmark is None else landmark
    visit, followed = survival.at_landmark(batch.time, duration, start)
    logits = ensemble.hazards(batch)[:, np.arange(len(rows)), visit]
    risk = 1 - survival.curve(logits, ensemble.ends, ensemble.horizons[-1:]).mean(axis=0)[:, 0]
    columns = {"duration": duration - start, "event": data.event[rows].astype(np.float64), "risk": risk}
    return evaluate.cases(data, rows, columns).where(followed)
