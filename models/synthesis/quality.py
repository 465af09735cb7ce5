"""How near generated images come to real ones: KID, density and coverage, and the distance of radiomic features.

Each stands beside the same figure of real images at the same number (the floor), because all of them depend on that
number and none is perfect between two real samples. Features are scaled to mean 0 and variance 1 over the reference, or
a few loud ones would drown the others. None is comparable with a figure on another encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.synthesis.coverage import Coverage, coverage
from models.synthesis.encoder import Encoder
from models.synthesis.frechet import frechet
from models.synthesis.kid import Kid, kid
from models.synthesis.part import Part
from models.synthesis.radiomics import radiomics

Floats = NDArray[np.float64]

LEAST = 20
"""Images of a class in each sample below which its figures would say nothing."""


@dataclass(frozen=True)
class Figures:
    """One sample of `n` images against the reference: `radiomic` is the Frechet distance of radiomic features,
    `classes` the coverage within each class.
    """

    n: int
    kid: Kid
    coverage: Coverage
    radiomic: float
    classes: Mapping[int, Coverage]


@dataclass(frozen=True)
class Quality:
    """Figures of the generated images, and the `floor`: those of as many real ones of the same classes."""

    features: str
    reference: int
    generated: Figures
    floor: Figures


@dataclass(frozen=True, eq=False)
class _Sample:
    """Images as what is measured on them: `features` (N, F), `radiomic` (N, R), `labels` (N,)."""

    features: Floats
    radiomic: Floats
    labels: NDArray[np.int64]


def quality(generated: Part, real: Part, encoder: Encoder, seed: int = 0) -> Quality:
    """Measure generated images against one half of the real ones, drawn by `seed`, and the other half likewise.

    Raises ValueError where a class of the real images has too few cases on either side.
    """
    reference, other = halves(real.labels, seed)
    counts = shared_counts(generated.labels, real.labels[other])
    if min(counts.values()) < LEAST:
        raise ValueError(f"each class needs {LEAST} generated and {2 * LEAST} real images or more")
    against = _sample(real.take(reference), encoder)
    made = _sample(generated.take(_first(generated.labels, counts)), encoder)
    same = _sample(real.take(other[_first(real.labels[other], counts)]), encoder)
    return Quality(encoder.name, len(reference), _figures(made, against, seed), _figures(same, against, seed))


def halves(labels: NDArray[np.int64], seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the positions of two halves, in random order; each has half of every class (the second the odd one)."""
    order = np.random.default_rng(seed).permutation(len(labels))
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        own = order[labels[order] == label]
        rank[own] = np.arange(len(own))
    first = order[rank[order] % 2 == 1]
    return first, order[rank[order] % 2 == 0]


def shared_counts(generated: NDArray[np.int64], real: NDArray[np.int64]) -> dict[int, int]:
    """Return how many images of each class to take of either, in the proportions of the real ones."""
    wanted = {int(label): int((real == label).sum()) for label in np.unique(real)}
    share = min(1.0, *(float((generated == label).sum()) / count for label, count in wanted.items()))
    return {label: int(share * count) for label, count in wanted.items()}


def _first(labels: NDArray[np.int64], counts: Mapping[int, int]) -> NDArray[np.intp]:
    """Positions of the first so many of each class."""
    return np.concatenate([np.flatnonzero(labels == label)[:count] for label, count in counts.items()])


def _sample(part: Part, encoder: Encoder) -> _Sample:
    return _Sample(encoder.features(part.images), radiomics(part.images), part.labels)


def _figures(sample: _Sample, against: _Sample, seed: int) -> Figures:
    made, real = _scaled(sample.features, against.features)
    classes = {
        int(label): coverage(made[sample.labels == label], real[against.labels == label])
        for label in np.unique(against.labels)
    }
    distance = frechet(*_scaled(sample.radiomic, against.radiomic))
    return Figures(len(sample.labels), kid(made, real, seed), coverage(made, real), distance, classes)


def _scaled(sample: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Both as z-scores of the reference; a feature that is constant there is only centred."""
    mean, deviation = reference.mean(axis=0), reference.std(axis=0)
    deviation = np.where(deviation > 1e-6 * max(1.0, float(deviation.max())), deviation, 1.0)
    return (sample - mean) / deviation, (reference - mean) / deviation
