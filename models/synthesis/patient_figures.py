"""The figures of a generator of patients: quality, usefulness, privacy, and the gate's verdict on them.

Quality is measured on a patient's profile (models/prediction/features.py): each variable's mean z-score, the share of
bins in which it was measured, and the static values. Usefulness by boosting, the honest bar of the risk models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.cases import Cases
from models.data.canonical import SequenceSet
from models.prediction import boosting, features
from models.prediction.encoding import Batch, Encoder
from models.prediction.recipes import BoostingSettings
from models.synthesis.coverage import Coverage, coverage
from models.synthesis.kid import Kid, kid
from models.synthesis.privacy import Audited, Privacy, privacy
from models.synthesis.quality import halves
from models.synthesis.sequence_networks import SequenceGan
from models.synthesis.sequence_task import course
from models.synthesis.usefulness import Usefulness, compared

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PROFILE = "patients' profiles (mean and share of bins of each variable, static values)"
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class PatientSample:
    """One sample of `n` patients against the reference."""

    n: int
    kid: Kid
    coverage: Coverage


@dataclass(frozen=True)
class PatientQuality:
    """Figures of the drawn patients, and the `floor`: those of as many real ones with as many of each outcome."""

    features: str
    reference: int
    generated: PatientSample
    floor: PatientSample


def quality(drawn: Batch, drawn_labels: Ints, real: Batch, labels: Ints, seed: int = 0) -> PatientQuality:
    """Measure drawn patients against one half of the real ones, and the other half likewise."""
    reference, other = halves(labels, seed)
    profile = features.profile(real)
    mean, deviation = profile[reference].mean(axis=0), profile[reference].std(axis=0)
    deviation = np.where(deviation > 1e-6, deviation, 1.0)
    against = (profile[reference] - mean) / deviation
    same = (profile[other] - mean) / deviation
    made = (features.profile(drawn) - mean) / deviation
    share = min(1.0, *((drawn_labels == label).sum() / (labels[other] == label).sum() for label in np.unique(labels)))
    counts = {label: int(share * (labels[other] == label).sum()) for label in np.unique(labels)}
    samples = [
        _sample(rows[_first(own, counts)], against, seed) for rows, own in ((made, drawn_labels), (same, labels[other]))
    ]
    return PatientQuality(PROFILE, len(reference), samples[0], samples[1])


def usefulness(
    drawn: Sequence[SequenceSet], real: SequenceSet, test: SequenceSet, encoder: Encoder, rounds: int,
    step: Callable[[], None] = lambda: None, seeds: Sequence[int] = SEEDS,
) -> list[Usefulness]:  # fmt: skip
    """Train boosting on each set of drawn patients (TSTR) and on real ones (TRTR); test all on the same real ones."""
    trained = [*drawn, real]
    y, settings = _outcome(test), BoostingSettings(rounds=rounds)
    tables, asked = [_table(one, encoder) for one in trained], _table(test, encoder)
    said: list[list[Floats]] = []  # of each seed: of each set trained on, (N,)
    for seed in seeds:
        said.append([])
        for table, of in zip(tables, trained, strict=True):
            step()
            said[-1].append(boosting.Trees(boosting.fit(table, _outcome(of), settings, seed))(asked))
    found = []
    for place, own in enumerate(drawn):
        pairs = [(probabilities[place], probabilities[-1]) for probabilities in said]
        each = tuple((seed, _auc(y, mine), _auc(y, other)) for seed, (mine, other) in zip(seeds, pairs, strict=True))
        found.append(Usefulness(*compared(y, pairs), each, len(own), len(real), len(test), "boosting"))
    return found


def private(
    drawn: Batch, train: Batch, labels: Ints, validation: Batch, validation_labels: Ints, gan: SequenceGan | None,
    seed: int = 0,
) -> Privacy:  # fmt: skip
    """Attack drawn patients. Members are training patients, others and reference the halves of the validation part."""
    random = np.random.default_rng(seed)
    half = min(len(validation) // 2, len(train))
    unseen, members = random.permutation(len(validation)), random.permutation(len(train))[:half]
    others, reference = unseen[:half], unseen[half:]
    real = Audited(flat(train.take(members)), flat(validation.take(others)), flat(validation.take(reference)))
    losses = None
    if gan is not None:
        said = (_said(gan, train, labels, members), _said(gan, validation, validation_labels, others))
        losses = {"discriminator": said}
    return privacy(flat(drawn), real, losses, seed, training=flat(train))


def flat(batch: Batch) -> Floats:
    """Return patients as rows of numbers: every bin's values and masks, and the static values, (N, 2 T V + 2 S)."""
    parts = [part.flatten(1) for part in course(batch)]
    return torch.cat(parts, dim=1).double().numpy()


@torch.no_grad()
def _said(gan: SequenceGan, batch: Batch, labels: Ints, rows: NDArray[np.int64]) -> Floats:
    """What the discriminator, which is not part of the version, says of real patients: (N,), high for known ones."""
    logits = gan.discriminator(course(batch.take(rows)), torch.from_numpy(labels[rows]))
    found: Floats = logits.double().numpy()
    return found


def _sample(rows: Floats, against: Floats, seed: int) -> PatientSample:
    return PatientSample(len(rows), kid(rows, against, seed), coverage(rows, against))


def _first(labels: Ints, counts: dict[int, int]) -> NDArray[np.intp]:
    return np.concatenate([np.flatnonzero(labels == label)[:count] for label, count in counts.items()])


def _outcome(data: SequenceSet) -> Floats:
    """Their outcomes, 0 or 1, (N,)."""
    assert data.label is not None
    return data.label.astype(np.float64)


def _table(data: SequenceSet, encoder: Encoder) -> Floats:
    return features.table(encoder.encode_set(data, np.arange(len(data))), encoder.bins)


def _auc(y: Floats, p: Floats) -> float:
    return round(float(Cases(np.arange(len(y), dtype=np.uint64), {"y": y, "p": p}, {}).figure("auc")[0]), 4)
