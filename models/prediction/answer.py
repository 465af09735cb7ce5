"""From a model's numbers to the result's entry, as http-api.md gives it, and its picture. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.predicting import Encoded, NewArtifact
from models.prediction.contract import Contract
from models.prediction.kind import PredictionParams
from models.prediction.patients import Patient
from models.prediction.picture import picture

Numbers = NDArray[np.float64]

TOP = 12
"""Attributions in an item, largest first; the completeness check is over all."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """What the networks' logit of one patient rests on.

    `values` (T, V) and `statics` (S,): weights in logits; `times` (T,): start of each bin in the contract's unit;
    `measured` (T, V) bool; `risk` (T,): the risk with what was measured up to each bin, where a picture was asked for;
    `difference`: the logit minus that of the baseline.
    """

    values: Numbers
    statics: Numbers
    times: Numbers
    measured: NDArray[np.bool_]
    risk: Numbers | None
    difference: float


@dataclass(frozen=True, eq=False)
class Output:
    """What the model says of one patient.

    `probabilities` (H,) at the contract's horizons (one where it has none), `members` (M, H) those of each part of the
    ensemble, `survival` (times, curve) or None, `ood` the distance over its threshold.
    """

    probabilities: Numbers
    members: Numbers
    survival: tuple[Numbers, Numbers] | None
    ood: float
    course: Mapping[str, Any] | None
    explanation: Explanation | None


def encode(
    contract: Contract, calibration: Mapping[str, Any], patient: Patient, params: PredictionParams, output: Output,
    position: int,
) -> Encoded:  # fmt: skip
    """Return the entry for the patient at `position`, and the picture of the course where it was asked for."""
    item: dict[str, Any] = {
        "risks": risks(contract, params.horizons, output),
        "survival": _curve(output),
        "course": output.course,
        "attributions": [],
        "completeness": None,
        "over_time": [],
        "uncertainty": uncertainty(calibration, patient, output),
        "notes": list(patient.notes),
    }
    explanation = output.explanation
    if explanation is None:
        return Encoded(item)
    item["attributions"] = attributions(contract, explanation)
    item["completeness"] = completeness(explanation)
    item["over_time"] = moments(contract, explanation)
    if not params.picture:
        return Encoded(item)
    drawn = picture(contract, patient, item, explanation.values, explanation.times).encode()
    return Encoded(item, (NewArtifact(f"course-{position}.svg", "image/svg+xml", drawn, position),))


def risks(contract: Contract, chosen: Sequence[float] | None, output: Output) -> list[dict[str, Any]]:
    """Return one entry per horizon asked for; the interval spans the members and always holds the probability."""
    horizons: Sequence[float | None] = contract.horizons or (None,)
    found = []
    for column, horizon in enumerate(horizons):
        if chosen is not None and horizon not in chosen:
            continue
        probability, own = output.probabilities[column], output.members[:, column]
        interval = [_share(min(own.min(), probability)), _share(max(own.max(), probability))]
        entry = {"outcome": contract.outcome, "horizon": horizon}
        found.append({**entry, "probability": _share(probability), "interval": interval})
    return found


def uncertainty(calibration: Mapping[str, Any], patient: Patient, output: Output) -> dict[str, Any]:
    """Return distance, spread and whether to abstain; abstaining routes the patient to a clinician.

    `calibration["spread"]`, where the model has one, is the spread that one in a hundred of the patients of its fitting
    exceeded (`SPREAD` of the trainer says what that is worth).
    """
    spread = float(output.members[:, 0].std())
    allowed = calibration.get("spread")
    reason = None
    if output.ood > 1:
        reason = (
            f"The patient is unlike those that the model was trained on: {output.ood:.2f} times the distance allowed."
        )
    elif not patient.observations:
        reason = "Nothing was measured that the model reads."
    elif allowed is not None and spread > float(allowed):
        reason = (
            "The members of the ensemble disagree by more than on 99 in 100 of the patients that they were fitted on."
        )
    return {
        "ood_score": round(float(output.ood), 4),
        "in_distribution": bool(output.ood <= 1),
        "abstain": reason is not None,
        "reason": reason,
        "spread": round(spread, 6),
    }


def attributions(contract: Contract, explanation: Explanation) -> list[dict[str, Any]]:
    """Return the `TOP` heaviest features, each variable in each bin where it was measured, and each static value."""
    found: list[tuple[float, str, float | None]] = [
        (float(explanation.values[row, column]), contract.variables[column].name, _short(explanation.times[row]))
        for row, column in zip(*np.nonzero(explanation.measured), strict=True)
    ]
    found += [
        (float(weight), limits.name, None) for weight, limits in zip(explanation.statics, contract.statics, strict=True)
    ]
    heaviest = sorted((one for one in found if one[0]), key=lambda one: -abs(one[0]))[:TOP]
    return [{"feature": name, "time": time, "weight": round(weight, 5)} for weight, name, time in heaviest]


def moments(contract: Contract, explanation: Explanation) -> list[dict[str, float]]:
    """Return the risk at the end of each bin; a model without a horizon reads visits, whose bins have no width."""
    if explanation.risk is None:
        return []
    ends = explanation.times
    if contract.horizon is not None and len(ends):
        ends = np.append(ends[1:], contract.horizon)
    return [
        {"time": _short(time), "probability": _share(risk)} for time, risk in zip(ends, explanation.risk, strict=True)
    ]


def completeness(explanation: Explanation) -> dict[str, float]:
    """Return the sum of all weights, what it should be, and what it lacks."""
    total = float(explanation.values.sum() + explanation.statics.sum())
    exact = {"sum": total, "difference": explanation.difference, "error": total - explanation.difference}
    return {name: round(value, 6) for name, value in exact.items()}


def _curve(output: Output) -> dict[str, list[float]] | None:
    if output.survival is None:
        return None
    times, curve = output.survival
    return {"times": [_short(time) for time in times], "survival": [_share(one) for one in curve]}


def _share(probability: float) -> float:
    """Within 0 and 1 though rounding or float32 may have put it beside."""
    return round(min(max(float(probability), 0.0), 1.0), 6)


def _short(number: float) -> float:
    return float(f"{float(number):.6g}")
