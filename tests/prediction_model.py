"""A small, untrained prediction model and patients for it: tests of the machinery need no trained weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from models.prediction import features
from models.prediction.boosting import Trees, fit
from models.prediction.contract import Contract
from models.prediction.encoding import Encoder, Scale
from models.prediction.ensemble import RiskEnsemble, SurvivalEnsemble
from models.prediction.familiar import Familiar
from models.prediction.networks import GruD, LstmBasic, SurvivalGru
from models.prediction.patients import parse
from models.prediction.recipes import BoostingSettings

CONTRACT: dict[str, Any] = {
    "unit": "hours", "horizon": 48,
    "variables": [
        {"name": "HR", "low": 0, "high": 300, "unit": "1/min"},
        {"name": "Temp", "low": 25, "high": 45, "unit": "deg C"},
        {"name": "Lactate", "low": 0, "high": 40, "unit": "mmol/L"},
    ],
    "statics": [{"name": "Age", "low": 0, "high": 120}, {"name": "Gender", "low": 0, "high": 1}],
    "outcome": {"kind": "binary", "name": "In-hospital death", "horizons": []}, "course": None,
}  # fmt: skip

SURVIVAL: dict[str, Any] = {
    **CONTRACT, "unit": "years", "horizon": None,
    "outcome": {"kind": "survival", "name": "death", "horizons": [1, 2, 3]},
}  # fmt: skip

MEANS, SCALES = np.array([88.0, 37.0, 2.0]), np.array([17.0, 0.8, 1.5])


def patient(seed: int, measured: int = 40) -> dict[str, Any]:
    """A made-up patient as JSON, of its own for each seed."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, 48, measured)).round(2)
    which = rng.integers(0, 3, measured)
    values = (
        (MEANS[which] + SCALES[which] * rng.normal(rng.normal(), 1, measured)).clip(1, 40 + 200 * (which == 0)).round(2)
    )
    names = [one["name"] for one in CONTRACT["variables"]]
    rows = zip(times.tolist(), which.tolist(), values.tolist(), strict=True)
    observations = [{"time": time, "name": names[column], "value": value} for time, column, value in rows]
    return {
        "static": {"Age": int(rng.integers(20, 90)), "Gender": int(rng.integers(0, 2))},
        "observations": observations,
    }


def encoder() -> Encoder:
    """Hourly bins; the means and deviations are round numbers, so that an average value is an exact 0."""
    scales = [
        Scale(one["name"], one["low"], one["high"], one["unit"], None, mean, deviation)
        for one, mean, deviation in zip(CONTRACT["variables"], MEANS, SCALES, strict=True)
    ]
    statics = (Scale("Age", 0, 120, None, None, 60, 15), Scale("Gender", 0, 1, None, None, 0.5, 1))
    return Encoder("hours", 48, 48, tuple(scales), statics)


def ensemble() -> RiskEnsemble:
    """Two GRU-D and two plain LSTM with seeded random weights, for death in hospital."""
    torch.manual_seed(0)
    networks = {
        "gru-d": [GruD(3, 2, 48, 4).eval() for _ in range(2)],
        "lstm-basic": [LstmBasic(3, 2).eval() for _ in range(2)],
    }
    return RiskEnsemble(encoder(), ("gru-d", "lstm-basic"), networks, (), np.array([-1.0, 2.0, 2.0]), familiar())


def trees_alone() -> RiskEnsemble:
    """Two sets of trees that have learnt to tell tall heart rates, for death in hospital."""
    sent = [parse(patient(seed), Contract.read(CONTRACT)) for seed in range(60)]
    batch = encoder().encode(sent)
    table = features.table(batch, 48)
    high = (batch.value[:, :, 0].mean(dim=1) > batch.value[:, :, 0].mean()).double().numpy()
    settings = BoostingSettings(rounds=10, least_in_leaf=5)
    trees = [Trees(fit(table, high, settings, seed)) for seed in range(2)]
    return RiskEnsemble(encoder(), ("boosting",), {}, trees, np.array([0.0, 1.0]), familiar())


def survival() -> SurvivalEnsemble:
    """Two networks for the time to death, as HORIZONS of SURVIVAL ask."""
    torch.manual_seed(0)
    networks = [SurvivalGru(3, 2, 4, 4.0, 4, 0.0).eval() for _ in range(2)]
    for network in networks:
        torch.nn.init.normal_(network.linear.weight, 0, 0.3)
        torch.nn.init.normal_(network.readout.weight, 0, 0.3)
    visits = replace(encoder(), unit="years", horizon=None, bins=64)
    return SurvivalEnsemble(visits, networks, np.linspace(0, 4, 5), np.array([1.0, 2.0, 3.0]), familiar())


def familiar() -> Familiar:
    """Plain distances, as far as the statics allow: three z-scores are the limit."""
    return Familiar(np.zeros(8), np.diag([0.0] * 6 + [1.0, 1.0]), 3.0)
