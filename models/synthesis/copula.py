"""The simple generator of patients beside the GAN: a Gaussian copula for each outcome. numpy and scipy alone.

A patient is one long row: for each bin and variable the value and whether it was measured, and the static values.
Values become normal scores by their ranks; rows are drawn from the normal distribution with the mean and the covariance
of the real rows of the outcome, and read back by the same ranks. So it knows how any two numbers go together in a
straight line, and nothing else. No weights are trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from models.prediction.encoding import Batch
from models.prediction.networks import filled
from models.synthesis.sequence_networks import Course
from models.synthesis.virtual_patients import Writer

Floats = NDArray[np.float64]

NAME = "gaussian-copula"

LEAST_SHARE = 1e-6
"""Keeps the normal score of a share finite."""


@dataclass(frozen=True, eq=False)
class Copula:
    """`mean` (C, D) and `factor` [(N of the class, D)]: a row is the mean plus normal numbers times the factor.

    D is T V values, T V masks, S static values and S that say whether one is known. `cut` (C, T V + S): what a mask
    must exceed to be 1. `scores`: of each variable and then each static value the sorted real values.
    """

    shape: tuple[int, int, int]
    mean: Floats
    factor: Sequence[Floats]
    cut: Floats
    scores: Sequence[Floats]

    @classmethod
    def fit(cls, real: Batch, labels: NDArray[np.int64]) -> Copula:
        """To real patients with their outcomes (N,)."""
        n, bins, variables = real.value.shape
        mask, known = real.mask.double().numpy(), real.known.double().numpy()
        columns = [real.value[:, :, v].double().numpy()[mask[:, :, v] > 0] for v in range(variables)]
        columns += [real.static[:, s].double().numpy()[known[:, s] > 0] for s in range(known.shape[1])]
        scores = [np.sort(column) for column in columns]
        value = np.stack([_normal(real.value[:, :, v].double().numpy(), scores[v]) for v in range(variables)], axis=2)
        # Between two measurements the last one holds, and before the first that one.
        carried, told = _carried(value * mask, mask)
        static = np.stack([_normal(real.static[:, s].double().numpy(), scores[variables + s])
                           for s in range(known.shape[1])], axis=1) * known  # fmt: skip
        flat = mask.reshape(n, -1)
        rows = np.hstack([carried.reshape(n, -1), flat, static, known])
        there = np.hstack([told.reshape(n, -1), np.ones_like(flat), known, np.ones_like(known)])
        means, factors, cuts = [], [], []
        for label in range(int(labels.max()) + 1):
            own, seen = rows[labels == label], there[labels == label]
            count = np.maximum(seen.sum(axis=0), 1)
            mean = (own * seen).sum(axis=0) / count
            # Who was never measured says nothing of a value: the others stand for him.
            factor = (own - mean) * seen / np.sqrt(count)
            spread = np.sqrt((factor**2).sum(axis=0))
            binary = np.r_[bins * variables : 2 * bins * variables, len(mean) - known.shape[1] : len(mean)]
            share = np.clip(mean[binary], LEAST_SHARE, 1 - LEAST_SHARE)
            # What is always or never 1 does not vary, and stays so.
            cuts.append(np.where(spread[binary] > 0, mean[binary] + spread[binary] * ndtri(1 - share), 0.5))
            means.append(mean)
            factors.append(factor)
        return cls((bins, variables, known.shape[1]), np.array(means), factors, np.array(cuts), scores)

    def draw(self, label: int, streams: Sequence[np.random.Generator]) -> list[Course]:
        """Patients of one outcome, one from each random stream: tensors (T, V), (T, V), (S,), (S,)."""
        bins, variables, statics = self.shape
        factor, cells = self.factor[label], bins * variables
        noise = np.stack([random.standard_normal(len(factor)) for random in streams])
        rows = self.mean[label] + noise @ factor  # (K, D)
        value = rows[:, :cells].reshape(-1, bins, variables)
        mask = (rows[:, cells : 2 * cells] > self.cut[label][:cells]).reshape(-1, bins, variables).astype(np.float64)
        known = (rows[:, 2 * cells + statics :] > self.cut[label][cells:]).astype(np.float64)
        static = rows[:, 2 * cells : 2 * cells + statics]
        for v in range(variables):
            value[:, :, v] = _value(value[:, :, v], self.scores[v])
        for s in range(statics):
            static[:, s] = _value(static[:, s], self.scores[variables + s])
        parts = [torch.from_numpy(part) for part in (value * mask, mask, static * known, known)]
        return [Course(*(part[row] for part in parts)) for row in range(len(streams))]


@dataclass(frozen=True, eq=False)
class CopulaGenerator(Writer):
    """Draws whole patients from a copula."""

    copula: Copula

    def courses(self, labels: Sequence[int], streams: Sequence[np.random.Generator]) -> list[Course]:
        """Those of each outcome together."""
        found: dict[int, Course] = {}
        for label in set(labels):
            places = [place for place, own in enumerate(labels) if own == label]
            found |= zip(places, self.copula.draw(label, [streams[place] for place in places]), strict=True)
        return [found[place] for place in range(len(labels))]


def _normal(value: Floats, scores: Floats) -> Floats:
    """The normal scores of values among sorted ones; equal values share the middle of their ranks."""
    if not len(scores):
        return np.zeros_like(value)
    rank = (np.searchsorted(scores, value, "left") + np.searchsorted(scores, value, "right")) / 2
    normal: Floats = ndtri(np.clip(rank, 0.5, len(scores) - 0.5) / len(scores))
    return normal


def _value(normal: Floats, scores: Floats) -> Floats:
    """The sorted value at the rank of a normal score."""
    if not len(scores):
        return np.zeros_like(normal)
    found: Floats = scores[np.minimum((ndtr(normal) * len(scores)).astype(np.int64), len(scores) - 1)]
    return found


def _carried(value: Floats, mask: Floats) -> tuple[Floats, Floats]:
    """Values (N, T, V) without gaps, 0 where nothing was measured at all, and 1 where there is one."""
    forward, backward = (
        filled(torch.from_numpy(value[:, ::way].copy()), torch.from_numpy(mask[:, ::way].copy()))[0].numpy()[:, ::way]
        for way in (1, -1)
    )
    told = np.broadcast_to(mask.any(axis=1, keepdims=True), mask.shape).astype(np.float64)
    return np.where(mask.cumsum(axis=1) > 0, forward, backward), told
