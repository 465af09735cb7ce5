"""The plots that a version keeps of its test part, from cases.npz alone: calibration, and the ROC of a yes or no."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.cases import Cases
from models.plots import alone, reliability, roc
from models.prediction import evaluate
from models.prediction.survival import kaplan_meier

Floats = NDArray[np.float64]

GROUPS = 5
"""Of subjects by their predicted risk, in the calibration of a time to an event: each needs a curve of its own."""


def drawn(of: Cases, horizon: float | None = None, unit: str = "") -> dict[str, bytes]:
    """Return calibration.svg and, where both outcomes are there, roc.svg.

    `horizon`: the time by which the cases' risks are told, in `unit`; what was observed by then is the Kaplan-Meier
    estimate in each group.
    """
    if not len(of):
        return {}
    if horizon is not None:
        title = f"Predicted and observed (Kaplan-Meier) by {horizon:g} {unit}"
        return {"calibration.svg": alone(reliability(observed(of, horizon), "subjects", title))}
    y, p = of.columns["y"], of.columns["p"]
    bins = [_bin(p[part], y[part].mean()) for part in evaluate.tenths(p) if len(part)]
    files = {"calibration.svg": alone(reliability(bins, "subjects"))}
    if 0 < y.sum() < len(y):
        files["roc.svg"] = alone(roc(curve(of).tolist(), evaluate.figures(of)["auc"]))
    return files


def observed(of: Cases, horizon: float) -> list[dict[str, float]]:
    """Return `predicted`, `observed` and `count` of each group of subjects, by rising risk."""
    duration, event, risk = (of.columns[name] for name in ("duration", "event", "risk"))
    parts = [part for part in np.array_split(np.argsort(risk, kind="stable"), GROUPS) if len(part)]
    return [_bin(risk[part], 1 - kaplan_meier(duration[part], event[part], horizon)) for part in parts]


def curve(of: Cases) -> Floats:
    """Return the ROC curve, [1 - specificity, sensitivity] for each distinct probability, from (0, 0), (P, 2)."""
    positive, negative = of.counts(np.ones((1, len(of))))
    shares = [np.concatenate([[0.0], one[0].cumsum() / one.sum()]) for one in (negative, positive)]
    return np.stack(shares, axis=1)


def _bin(predicted: Floats, share: float) -> dict[str, float]:
    return {"predicted": float(predicted.mean()), "observed": float(share), "count": len(predicted)}
