"""The recurrent class-conditional GAN of virtual patients, readable from top to bottom.

After the recurrent conditional GAN of Esteban et al. (2017), with what medical series ask for: the generator draws, for
each bin of time, every variable's z-score and whether it was measured at all, and the patient's static values once. N
patients, T bins, V variables, S static values, Z numbers of noise; values are z-scores as models/prediction/encoding.py
makes them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.prediction.encoding import FAR
from models.prediction.networks import filled

SLOPE = 0.2
STEP = 8
"""Numbers of noise that each bin is given."""

NEAR = 1e-3
"""Keeps logits of shares finite."""
MOST_LOGIT, WIDTH = 8.0, 3.0
"""Largest logit of a mask, and the width of the sigmoid whose gradient it has."""


class Course(NamedTuple):
    """`value` (N, T, V), 0 where `mask` (N, T, V) is 0; `static` (N, S), 0 where `known` (N, S) is 0."""

    value: Tensor
    mask: Tensor
    static: Tensor
    known: Tensor


class Noise(NamedTuple):
    """What a patient is drawn from: `patient` (N, Z) and `steps` (N, T, STEP) normal, `measured` (N, T, V) and `told`
    (N, S) logistic.
    """

    patient: Tensor
    steps: Tensor
    measured: Tensor
    told: Tensor


@dataclass(frozen=True)
class Sizes:
    """Of both networks: variables, static values, bins, classes, hidden units, numbers of noise."""

    variables: int
    statics: int
    bins: int
    classes: int = 2
    hidden: int = 64
    noise: int = 32

    def draw(self, count: int, random: torch.Generator) -> Noise:
        """Return noise for `count` patients."""
        z = torch.randn(count, self.noise, generator=random)
        steps = torch.randn(count, self.bins, STEP, generator=random)
        shapes = ((count, self.bins, self.variables), (count, self.statics))
        uniform = [torch.rand(shape, generator=random).clamp(1e-6, 1 - 1e-6) for shape in shapes]
        return Noise(z, steps, *(torch.logit(u) for u in uniform))


class Start(NamedTuple):
    """What training patients of each outcome have in the mean: `shares` (C, T, V) of bins measured, `value` (C, V) of
    what was, `known` (C, S) shares and `static` (C, S) values of static values.
    """

    shares: Tensor
    value: Tensor
    known: Tensor
    static: Tensor

    @classmethod
    def nowhere(cls, sizes: Sizes) -> Start:
        """Where nothing is known of the patients."""
        c, v, s = sizes.classes, sizes.variables, sizes.statics
        half = torch.full((c, sizes.bins, v), 0.5), torch.full((c, s), 0.5)
        return cls(half[0], torch.zeros(c, v), half[1], torch.zeros(c, s))

    @classmethod
    def of(cls, real: Course, labels: Tensor, classes: int) -> Start:
        """Of real patients with their outcomes (N,)."""
        parts = [Course(*(part[labels == label] for part in real)) for label in range(classes)]
        return cls(
            torch.stack([one.mask.mean(dim=0) for one in parts]),
            torch.stack([one.value.sum(dim=(0, 1)) / one.mask.sum(dim=(0, 1)).clamp_min(1) for one in parts]),
            torch.stack([one.known.mean(dim=0) for one in parts]),
            torch.stack([one.static.sum(dim=0) / one.known.sum(dim=0).clamp_min(1) for one in parts]),
        )


class SequenceGenerator(nn.Module):
    """Noise and class to a course. A patient has a level of its own in every variable, around which a GRU moves.

    It starts where the training patients of each outcome are (`start`), and learns how patients differ from that.
    `levels`: the z-scores that a static value can have, empty where it may have any.
    """

    levels: list[Tensor]

    def __init__(self, sizes: Sizes, start: Start | None = None, levels: Sequence[Tensor] = ()) -> None:
        super().__init__()
        self.sizes, hidden, v, s = sizes, sizes.hidden, sizes.variables, sizes.statics
        start = start or Start.nowhere(sizes)
        self.label = nn.Embedding(sizes.classes, hidden)
        self.enter = nn.Linear(sizes.noise, hidden)
        self.patient = nn.Sequential(nn.LeakyReLU(SLOPE), nn.Linear(hidden, hidden), nn.LeakyReLU(SLOPE))
        self.level = nn.Linear(hidden, 2 * v)
        self.static = nn.Linear(hidden, 2 * s)
        self.gru = nn.GRU(STEP + 2, hidden, batch_first=True)
        self.leave = nn.Linear(hidden, 2 * v)
        # Outcomes differ by little: starting alike, the generator learns the difference instead of unlearning another.
        nn.init.zeros_(self.label.weight)
        self.measured, self.told = nn.Parameter(_logit(start.shares)), nn.Parameter(_logit(start.known))
        self.middle, self.usual = nn.Parameter(start.value), nn.Parameter(start.static)
        for number in range(s):
            self.register_buffer(f"levels{number}", levels[number] if levels else torch.empty(0))

    def forward(self, noise: Noise, y: Tensor) -> Course:
        """Return a course for noise and classes (N,). Masks are 0 or 1, with the gradient of their probability."""
        told = self.patient(self.enter(noise.patient) + self.label(y))  # (N, H)
        bins = self.sizes.bins
        angle = torch.arange(bins, dtype=told.dtype, device=told.device) / bins * math.pi
        clock = torch.stack([angle.cos(), angle.sin()], dim=1).expand(len(y), -1, -1)  # (N, T, 2)
        course, _ = self.gru(torch.cat([noise.steps, clock], dim=2), told[None].contiguous())  # (N, T, H)
        value, often = (self.leave(course) + self.level(told)[:, None]).chunk(2, dim=2)  # (N, T, V) each
        mask = _drawn(often + self.measured[y], noise.measured)
        value = value + self.middle[y][:, None]
        static, said = self.static(told).chunk(2, dim=1)  # (N, S) each
        known = _drawn(said + self.told[y], noise.told)
        static = static + self.usual[y]
        return Course(_held(value) * mask.detach(), mask, self._snapped(_held(static)) * known, known)

    def _snapped(self, static: Tensor) -> Tensor:
        """The nearest level of each static value that has levels, with the gradient of what was there."""
        found = static
        for number in range(self.sizes.statics):
            levels = self.get_buffer(f"levels{number}")
            if len(levels):
                near = levels[(static[:, number, None] - levels).abs().argmin(dim=1)]
                found = torch.cat([found[:, :number], near[:, None], found[:, number + 1 :]], dim=1)
        return static + (found - static).detach()


class SequenceDiscriminator(nn.Module):
    """A course and a class to a logit, high for real ones; the class enters by projection (Miyato and Koyama 2018).

    A GRU reads the bins; beside it stands what a physician would note of the whole: how often, mean, least, largest,
    last of each variable. A GRU alone learns those too slowly to be of use to the generator.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        hidden, v, s = sizes.hidden, sizes.variables, sizes.statics
        self.embed = nn.Sequential(nn.Linear(2 * v, hidden), nn.LeakyReLU(SLOPE))
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.body = nn.Sequential(
            *(nn.Linear(2 * hidden + 5 * v + 2 * s, 2 * hidden), nn.LeakyReLU(SLOPE)),
            *(nn.Linear(2 * hidden, 2 * hidden), nn.LeakyReLU(SLOPE)),
        )
        self.real = nn.Linear(2 * hidden, 1)
        self.label = nn.Embedding(sizes.classes, 2 * hidden)
        nn.init.zeros_(self.label.weight)

    def forward(self, course: Course, y: Tensor) -> Tensor:
        """Return logits (N,)."""
        states, _ = self.gru(self.embed(torch.cat([course.value, course.mask], dim=2)))  # (N, T, H)
        parts = [states.mean(dim=1), states[:, -1], summary(course), course.static, course.known]
        told = self.body(torch.cat(parts, dim=1))  # (N, 2 H)
        logits: Tensor = self.real(told)[:, 0] + (self.label(y) * told).sum(dim=1)
        return logits


class SequenceGan(nn.Module):
    """Both networks, trained in turn; the generator alone is kept."""

    def __init__(self, sizes: Sizes, start: Start | None = None, levels: Sequence[Tensor] = ()) -> None:
        super().__init__()
        self.sizes = sizes
        self.generator = SequenceGenerator(sizes, start, levels)
        self.discriminator = SequenceDiscriminator(sizes)


def summary(course: Course) -> Tensor:
    """Return share of bins, mean, least, largest and last of each variable (0 where never measured): (N, 5 V).

    A mask has its gradient from the share alone: a generator whose values are still poor would learn to measure little.
    """
    value, mask, share = course.value, course.mask.detach(), course.mask.mean(dim=1)
    count = mask.sum(dim=1)  # (N, V)
    some = (count > 0).to(value.dtype)
    away = (1 - mask) * 2 * FAR
    low, high = (value + away).amin(dim=1) * some, (value - away).amax(dim=1) * some
    last = filled(value, mask)[0][:, -1]
    return torch.cat([share, value.sum(dim=1) / count.clamp_min(1), low, high, last], dim=1)


def _drawn(logits: Tensor, noise: Tensor) -> Tensor:
    """Return 0 or 1, 1 with the probability of `logits`, with the gradient of a wide sigmoid (straight through).

    Held and wide, because a logit that is far out has no gradient, and never again is the variable measured.
    """
    drawn = MOST_LOGIT * torch.tanh(logits / MOST_LOGIT) + noise
    soft = torch.sigmoid(drawn / WIDTH)
    return soft + ((drawn > 0).to(soft.dtype) - soft).detach()


def _held(value: Tensor) -> Tensor:
    """Within the largest z-score, smoothly."""
    return FAR * torch.tanh(value / FAR)


def _logit(share: Tensor) -> Tensor:
    return torch.logit(share.clamp(NEAR, 1 - NEAR))
