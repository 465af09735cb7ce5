"""How well one feature alone tells the outcome: rank AUC, cross-fitted AUC of bins, and Harrell's concordance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
"""(N,) a feature, NaN where missing."""

BINS = 20
LEAST, LEAST_OF_EACH = 40, 10
"""Cases, and cases of the rarer outcome, below which an AUC by chance can be anything."""


def auc(score: Values, positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve (Mann-Whitney), ties counted half; both sorts of case must be there."""
    ones = int(positive.sum())
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * (len(positive) - ones)))


def alone(values: Values, positive: NDArray[np.bool_]) -> float:
    """The better of two: the AUC of the feature as it is, up or down, and that of its bins.

    The bins find what no threshold finds (-1 for "not known"). Each half of the cases is scored by the rates that the
    other half shows, so that many bins and few cases do not look like knowledge. 0.5 where there are too few cases.
    """
    if not _enough(positive):
        return 0.5
    known = ~np.isnan(values)
    best = 0.5
    if _enough(positive[known]):
        plain = auc(values[known], positive[known])
        best = max(plain, 1 - plain)
    return max(best, _cross_fitted(_binned(values, known), positive))


def alone_by_code(codes: NDArray[np.int64], positive: NDArray[np.bool_]) -> float:
    """The same for a feature that has names and no order; `codes` (N,)."""
    if not _enough(positive):
        return 0.5
    return _cross_fitted(np.unique(codes, return_inverse=True)[1], positive)


def concordance(values: Values, duration: Values, event: NDArray[np.bool_], most: int = 2000) -> float:
    """Harrell's C of the feature with the time to the event, up or down, over at most `most` cases that have both."""
    known = np.flatnonzero(~np.isnan(values))[:most]
    x, t, e = values[known], duration[known], event[known]
    if len(known) < LEAST or e.sum() < LEAST_OF_EACH:
        return 0.5
    # The case in the row had its event while the one in the column was still without.
    comparable = e[:, None] & (t[:, None] < t[None, :])
    pairs = int(comparable.sum())
    if not pairs:
        return 0.5
    lower = int((comparable & (x[:, None] < x[None, :])).sum())
    equal = int((comparable & (x[:, None] == x[None, :])).sum())
    share = (lower + equal / 2) / pairs
    return max(share, 1 - share)


def _enough(positive: NDArray[np.bool_]) -> bool:
    ones = int(positive.sum())
    return len(positive) >= LEAST and min(ones, len(positive) - ones) >= LEAST_OF_EACH


def _binned(values: Values, known: NDArray[np.bool_]) -> NDArray[np.intp]:
    """(N,) the bin of each value by quantiles, and one of its own for the missing."""
    bins = np.zeros(len(values), dtype=np.intp)
    if known.any():
        edges = np.unique(np.quantile(values[known], np.linspace(0, 1, BINS + 1)))
        bins[known] = 1 + np.searchsorted(edges, values[known], side="right")
    return bins


def _cross_fitted(bins: NDArray[np.intp], positive: NDArray[np.bool_]) -> float:
    share = positive.mean()
    score = np.empty(len(bins))
    odd = np.arange(len(bins)) % 2 == 1
    for half in (odd, ~odd):
        cases = np.bincount(bins[~half], minlength=int(bins.max()) + 1)
        ones = np.bincount(bins[~half], weights=positive[~half], minlength=len(cases))
        score[half] = ((ones + 2 * share) / (cases + 2))[bins[half]]
    return auc(score, positive)
