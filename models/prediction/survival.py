"""Discrete-time survival: what followed each visit, curves from hazards, and the concordance index. numpy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.prediction.stack import sigmoid

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


FOLLOWED = 0.9
"""Quantile of the follow-up where the hazards end: beyond it too few are left to learn from."""


def edges(duration: Floats, intervals: int) -> Floats:
    """Return the intervals' ends after a visit, (K + 1,): equal widths to the 90 % quantile of the follow-up."""
    return np.linspace(0.0, float(np.quantile(duration, FOLLOWED)), intervals + 1)


def followed(time: Floats, duration: Floats, event: Floats, ends: Floats) -> tuple[Floats, Floats]:
    """Return `at_risk` and `event`, each (N, T, K), for visits at `time` (N, T; NaN: none) of patients (N,).

    A visit on or after the end of follow-up counts for nothing. Who was censored before the middle of an interval is
    left out of it; who was censored later counts as having lived through it (the actuarial convention).
    """
    left = (duration[:, None] - time)[:, :, None]  # (N, T, 1)
    seen = (event[:, None, None] > 0) & np.ones_like(left, dtype=bool)
    start, end = ends[:-1], ends[1:]
    with np.errstate(invalid="ignore"):
        entered = left > start
        dies = seen & entered & (left <= end)
        at_risk = entered & (seen | (left >= (start + end) / 2))
    return at_risk.astype(np.float64), dies.astype(np.float64)


def curve(logits: Floats, ends: Floats, at: Floats) -> Floats:
    """Return the probability of no event by the times `at` (H,), (..., K) -> (..., H).

    Between an interval's ends the hazard is taken as constant, so the curve falls exponentially; after the last end it
    stays where it was, for nothing is known of what follows.
    """
    alive = np.log1p(-np.clip(sigmoid(logits), 0.0, 1 - 1e-12)).cumsum(axis=-1)
    alive = np.concatenate([np.zeros((*alive.shape[:-1], 1)), alive], axis=-1)  # (..., K + 1)
    right = np.clip(np.searchsorted(ends, at, side="left"), 1, len(ends) - 1)
    share = np.clip((at - ends[right - 1]) / (ends[right] - ends[right - 1]), 0.0, 1.0)
    found: Floats = np.exp(alive[..., right - 1] * (1 - share) + alive[..., right] * share)
    return found


def kaplan_meier(duration: Floats, event: Floats, at: float) -> float:
    """Return the share without the event by `at` (Kaplan and Meier 1958): who is censored counts until then."""
    times = np.unique(duration[(event > 0) & (duration <= at)])
    risk = (duration[:, None] >= times).sum(axis=0)
    died = ((duration[:, None] == times) & (event[:, None] > 0)).sum(axis=0)
    return float(np.prod(1 - died / risk))


def c_index(duration: Floats, risk: Floats, event: Floats) -> float:
    """Return Harrell's concordance: of the pairs whose order is known, the share in which who dies first has the
    higher risk; equal risks count half. NaN where no order is known.
    """
    died = event > 0
    later = (duration[:, None] < duration) | ((duration[:, None] == duration) & ~died)
    pairs = later & died[:, None]
    right = (risk[:, None] > risk) + 0.5 * (risk[:, None] == risk)
    return float((pairs * right).sum() / pairs.sum()) if pairs.any() else float("nan")


def at_landmark(time: Floats, duration: Floats, landmark: float | Floats) -> tuple[NDArray[np.intp], Bools]:
    """Return each patient's last visit up to `landmark` (N,), and who is still followed then and has such a visit.

    `landmark` is one time for all or each patient's own, (N,).
    """
    with np.errstate(invalid="ignore"):
        before = time <= np.reshape(landmark, (-1, 1)) + 1e-9
    return np.maximum(before.sum(axis=1) - 1, 0), before.any(axis=1) & (duration > landmark)


def horizons(duration: Floats, event: Floats, latest: float) -> tuple[float, ...]:
    """Return three times at which risks are told: the 10, 40 and 70 % quantiles of the times of events, as one digit.

    None is later than `latest`, where the hazards end.
    """
    times = duration[event > 0]
    if not len(times):
        return (float(f"{latest / 2:.1g}"),)
    found = {float(f"{value:.1g}") for value in np.quantile(times, [0.1, 0.4, 0.7])}
    return tuple(sorted(value for value in found if 0 < value <= latest)) or (float(f"{latest / 2:.1g}"),)
