"""What a set of generated cases gives away of the cases its generator was trained on, beside a memoriser that must be
caught. Cases are rows of numbers (N, P): pixels, or a patient's values.

Passing says that these attacks found nothing on this many cases; it proves no privacy, which only training with a
differential guarantee does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.synthesis import domias
from models.synthesis.interval import Interval
from models.synthesis.membership import Attack, attack
from models.synthesis.neighbours import distances, nearest

Floats = NDArray[np.float64]

SCREENED, RESAMPLES = 2000, 200
NOISE = 0.02
"""Noise of the memoriser, as a share of each value's standard deviation (at least of the mean one of all values)."""


@dataclass(frozen=True, eq=False)
class Audited:
    """Real cases (N, P) of one sort: `members` were trained on; `others`, as many, and `reference` were not.

    All three come from one distribution and share no case, or an attack finds that difference and not membership.
    """

    members: Floats
    others: Floats
    reference: Floats


@dataclass(frozen=True)
class Nearness:
    """A screen and no proof: `ratio` is the median distance of a generated case to its nearest member over that to
    its nearest other; `nearer` the share that is nearer to a member. Without copying they are about 1 and 0.5.

    The interval is over the real cases. It is wide where one of them lies near all that was generated (a hub, such as
    a patient of whom nothing was measured), and then the share says nothing.
    """

    ratio: float
    nearer: Interval


@dataclass(frozen=True)
class Privacy:
    """Attacks by name on `generated` cases, the same attacks on as many of a memoriser, and the screen."""

    attacks: Mapping[str, Attack]
    control: Mapping[str, Attack]
    nearness: Nearness
    generated: int


def privacy(
    generated: Floats,
    real: Audited,
    losses: Mapping[str, tuple[Floats, Floats]] | None = None,
    seed: int = 0,
    training: Floats | None = None,
) -> Privacy:
    """Measure generated cases (M, P).

    `losses`: further attacks by name, as the scores of members and of others (N,), high where the model knows a case
    well: a discriminator's logit, or minus a reconstruction's error. The control cannot show their power: that takes a
    model that memorises, not cases. `training` (T, P): all that the generator was trained on, which the memoriser
    repeats; None: the members.
    """
    attacks = attacked(generated, real, seed)
    for name, (members, others) in (losses or {}).items():
        attacks[name] = attack(members, others, seed)
    copied = memorised(real.members if training is None else training, len(generated), seed)
    return Privacy(attacks, attacked(copied, real, seed), nearness(generated, real, seed), len(generated))


def attacked(generated: Floats, real: Audited, seed: int = 0) -> dict[str, Attack]:
    """The attacks that need the generated cases alone: DOMIAS, and the distance to the nearest generated case (the
    full black-box attack of GAN-Leaks, Chen et al. 2020).
    """
    density = [domias.scores(cases, generated, real.reference) for cases in (real.members, real.others)]
    near = [-nearest(cases, generated) for cases in (real.members, real.others)]
    return {"domias": attack(density[0], density[1], seed), "reconstruction": attack(near[0], near[1], seed)}


def nearness(generated: Floats, real: Audited, seed: int = 0) -> Nearness:
    """Compare the distances of (the first SCREENED) generated cases to the nearest member and to the nearest other."""
    member, other = (distances(generated[:SCREENED], cases) for cases in (real.members, real.others))
    random, n = np.random.default_rng(seed), len(real.members)
    drawn = np.array([_nearer(member, other, *random.integers(0, n, (2, n))) for _ in range(RESAMPLES)])
    whole = np.arange(n)
    ratio = float(np.median(member.min(axis=1)) / max(float(np.median(other.min(axis=1))), 1e-12))
    return Nearness(round(ratio, 4), Interval.of(_nearer(member, other, whole, whole), drawn))


def _nearer(member: Floats, other: Floats, members: NDArray[np.intp], others: NDArray[np.intp]) -> float:
    """The share nearer to one of the chosen members than to any of the chosen others, ties counted half."""
    first, second = member[:, members].min(axis=1), other[:, others].min(axis=1)
    return float(((first < second) + 0.5 * (first == second)).mean())


def memorised(training: Floats, count: int, seed: int = 0) -> Floats:
    """Return what a generator would give that only repeats its training cases with a little noise: (count, P)."""
    random = np.random.default_rng(seed)
    deviation = training.std(axis=0)
    noise = NOISE * np.maximum(deviation, deviation.mean())
    repeated = training[random.integers(0, len(training), count)]
    copied: Floats = repeated + noise * random.standard_normal(repeated.shape)
    return copied
