"""Gradient boosting by LightGBM (Ke et al., NeurIPS 2017), a set of trees per target, kept as LightGBM's own text."""

from __future__ import annotations

import json
import lzma
from collections.abc import Sequence

import lightgbm
import numpy as np
from numpy.typing import NDArray

from models.screening.outcome import Outcome
from models.screening.recipes import BoostingSettings

Floats = NDArray[np.float32]

THREADS = 1
"""Sums over threads are rounded in the order of the threads, so their number is part of the result."""

FIXED = {"num_threads": THREADS, "deterministic": True, "force_row_wise": True, "verbosity": -1, "max_bin": 63}
FEWEST = 5
"""Molecules (of each class) below which a target is not learnt: its answer is the mean of the validation part."""


def fit(x: Floats, labels: Floats, settings: BoostingSettings, seed: int, outcome: Outcome) -> list[str]:
    """The model text of each target from features (N, F), NaN where missing, and standardised labels (N, T), NaN where
    unknown."""
    parameters = {
        **FIXED,
        "objective": outcome.objective,
        "seed": seed,
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": settings.least_in_leaf,
        "feature_fraction": settings.feature_share,
        "bagging_fraction": settings.row_share,
        "bagging_freq": 1,
        "lambda_l2": settings.l2,
    }
    texts = []
    for column in labels.T:
        known = ~np.isnan(column)
        if outcome.known(column) < FEWEST:
            texts.append("")
            continue
        data = lightgbm.Dataset(x[known], column[known], params={"max_bin": FIXED["max_bin"]})
        texts.append(str(lightgbm.train(parameters, data, settings.rounds).model_to_string(importance_type="gain")))
    return texts


def pack(texts: Sequence[str]) -> bytes:
    """The texts as one file: JSON, packed by xz, which makes a fifth of them."""
    return lzma.compress(json.dumps(list(texts)).encode())


def unpack(content: bytes) -> list[str]:
    """The texts again; raises ValueError where the file is none of these."""
    try:
        texts = json.loads(lzma.decompress(content))
    except lzma.LZMAError as error:
        raise ValueError("the trees cannot be unpacked") from error
    return [str(text) for text in texts]


class Trees:
    """Trees read from model texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.boosters = [lightgbm.Booster(model_str=text) if text else None for text in texts]

    def __call__(self, x: Floats) -> NDArray[np.float64]:
        """The score of each target, (N, F) -> (N, T); 0 for a target that was not learnt."""
        columns = [
            np.zeros(len(x)) if one is None else np.asarray(one.predict(x, raw_score=True, num_threads=THREADS))
            for one in self.boosters
        ]
        return np.column_stack(columns).astype(np.float64)
