"""Gradient boosting by LightGBM (Ke et al., NeurIPS 2017): trained with fixed threads, kept as its own model text."""

from __future__ import annotations

import time
from collections.abc import Callable

import lightgbm
import numpy as np
from numpy.typing import NDArray

from models.prediction.recipes import BoostingSettings

Floats = NDArray[np.float64]

THREADS = 1
"""Sums over threads are rounded in the order of the threads, so their number is part of the result."""

TIMED = 5

FIXED = {"num_threads": THREADS, "deterministic": True, "force_row_wise": True, "verbosity": -1, "max_bin": 63}


def fit(
    x: Floats, y: Floats, settings: BoostingSettings, seed: int, tick: Callable[[int], None] = lambda _: None
) -> str:
    """Return the model text of boosted trees for features (N, F), NaN where missing, and labels 0 or 1 (N,).

    `tick` is called after each tree with their number so far; what it raises ends the fitting.
    """
    parameters = {
        **FIXED,
        "objective": "binary",
        "seed": seed,
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": settings.least_in_leaf,
        "feature_fraction": settings.feature_share,
        "bagging_fraction": settings.row_share,
        "bagging_freq": 1,
        "lambda_l2": settings.l2,
    }
    data = lightgbm.Dataset(x, y, params={"max_bin": FIXED["max_bin"]})
    made = lightgbm.train(parameters, data, settings.rounds, callbacks=[lambda now: tick(now.iteration + 1)])
    return str(made.model_to_string(importance_type="gain"))


def seconds(x: Floats, y: Floats, settings: BoostingSettings) -> float:
    """Return the time of one tree, from a few that are thrown away."""
    few, began = settings.model_copy(update={"rounds": TIMED}), time.perf_counter()
    fit(x, y, few, 0)
    return (time.perf_counter() - began) / TIMED


def fit_quantile(x: Floats, y: Floats, seed: int) -> str:
    """Return the model text of trees for the median of `y` (N,), for sets of some hundred or thousand rows."""
    parameters = {
        **FIXED,
        "objective": "quantile",
        "alpha": 0.5,
        "seed": seed,
        "learning_rate": 0.05,
        "num_leaves": 6,
        "min_data_in_leaf": 20,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
    }
    return str(lightgbm.train(parameters, lightgbm.Dataset(x, y), 120).model_to_string(importance_type="gain"))


class Trees:
    """Trees read from model text."""

    def __init__(self, text: str) -> None:
        self.booster = lightgbm.Booster(model_str=text)

    def __call__(self, x: Floats) -> Floats:
        """Return the raw score of each row: log odds of a binary outcome, (N, F) -> (N,)."""
        return np.asarray(self.booster.predict(x, raw_score=True, num_threads=THREADS), dtype=np.float64)
