"""Membership inference: can an attacker tell from a score which cases a generator was trained on?

Every attack is judged alike, on as many members as non-members, so that 0.5 is chance. An average hides the few cases
that are given away, so the share of members found at 1 % false alarms stands beside the area (Carlini et al. 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.cases import Cases
from models.synthesis.interval import Interval

Floats = NDArray[np.float64]

FALSE_ALARMS = 0.01
RESAMPLES = 1000


@dataclass(frozen=True)
class Attack:
    """How well a score tells `n` members from `n` others: area under the ROC curve, and the share of members above
    all but 1 % of the others (`tpr_at_1_fpr`).
    """

    auc: Interval
    tpr_at_1_fpr: Interval
    n: int


def attack(members: Floats, others: Floats, seed: int = 0) -> Attack:
    """Judge scores (N,) of members and of others, high where membership is claimed; intervals by the bootstrap.

    Raises ValueError where the sets differ in size or a score is not finite.
    """
    if len(members) != len(others) or not len(members):
        raise ValueError(f"an attack is judged on equal sets, not on {len(members)} members and {len(others)} others")
    scores = np.concatenate([members, others]).astype(np.float64)
    if not np.isfinite(scores).all():
        raise ValueError("a score of an attack is not finite")
    n = len(members)
    y = np.repeat([1.0, 0.0], n)
    cases = Cases(np.arange(2 * n, dtype=np.uint64), {"y": y, "p": scores}, {})
    random = np.random.default_rng(seed)
    weights = np.hstack([random.multinomial(n, np.full(n, 1 / n), RESAMPLES) for _ in range(2)]).astype(np.float64)
    whole = np.ones((1, 2 * n))
    auc = Interval.of(float(cases.figure("auc")[0]), cases.figure("auc", weights))
    return Attack(auc, Interval.of(float(found(cases, whole)[0]), found(cases, weights)), n)


def found(cases: Cases, weights: Floats) -> Floats:
    """Return the share of members at 1 % false alarms for each row of `weights`, (R, N) -> (R,).

    The largest share at any threshold with no more false alarms than that; cases of equal score are called together.
    """
    right, wrong = (counts.cumsum(axis=1) for counts in cases.counts(weights))
    allowed = wrong <= FALSE_ALARMS * wrong[:, -1:]
    shares: Floats = np.where(allowed, right, 0.0).max(axis=1) / right[:, -1]
    return shares
