"""DOMIAS (van Breugel et al., "Membership Inference Attacks against Synthetic Data through Overfitting Detection",
AISTATS 2023): a case is called a member where the generated density is high for how dense real cases are there.

Both densities are estimated in the space of the leading principal components of the real reference cases, scaled to
unit variance, from the distance to the k-th nearest case (Loftsgaarden and Quesenberry 1965). That estimate is sharp
where a generator repeats single cases, which a kernel of one width for all smooths over.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.synthesis.neighbours import nearest

Floats = NDArray[np.float64]

COMPONENTS = 32
K = 1
_LEAST = 1e-9


def whiten(reference: Floats, components: int = COMPONENTS) -> tuple[Floats, Floats]:
    """Return (mean (P,), axes (P, K)) that turn cases into coordinates: (x - mean) @ axes, of unit variance each.

    Fewer components where the reference has no more directions than that.
    """
    mean = reference.mean(axis=0)
    _, singular, rows = np.linalg.svd(reference - mean, full_matrices=False)
    kept = int(min(components, (singular > 1e-6 * singular[0]).sum(), len(reference) - 1))
    axes: Floats = (rows[:kept] / singular[:kept, None]).T * np.sqrt(len(reference))
    return mean, axes


def scores(cases: Floats, generated: Floats, reference: Floats, components: int = COMPONENTS, k: int = K) -> Floats:
    """Return the log of generated over real density at each case, up to a constant: (N, P) -> (N,).

    `generated` (M, P) is what the attacker was given, `reference` (R, P) real cases that were not trained on and are
    not among `cases`.
    """
    mean, axes = whiten(reference, components)
    here, made, real = ((x - mean) @ axes for x in (cases, generated, reference))
    gap = np.log(nearest(here, real, k) + _LEAST) - np.log(nearest(here, made, k) + _LEAST)
    ratio: Floats = axes.shape[1] * gap
    return ratio
