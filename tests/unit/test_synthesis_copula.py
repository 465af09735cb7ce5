"""The simple generator of patients: what it keeps of the real ones, and that it repeats none of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from models.data.canonical import SequenceSet
from models.prediction.encoding import Batch, Encoder
from models.synthesis.copula import Copula, CopulaGenerator
from models.synthesis.emission import Emission
from tests.sequence_sets import binary_set

BINS = 6


@pytest.fixture(scope="module")
def real() -> SequenceSet:
    return binary_set(800)


@pytest.fixture(scope="module")
def encoder(real: SequenceSet) -> Encoder:
    return Encoder.fit(real, np.arange(len(real)), 48.0, BINS)


@pytest.fixture(scope="module")
def batch(real: SequenceSet, encoder: Encoder) -> Batch:
    return encoder.encode_set(real, np.arange(len(real)))


@pytest.fixture(scope="module")
def generator(real: SequenceSet, encoder: Encoder, batch: Batch) -> CopulaGenerator:
    assert real.label is not None
    copula = Copula.fit(batch, real.label.astype(np.int64))
    return CopulaGenerator(encoder, Emission.fit(real, np.arange(len(real)), encoder), real.outcome, copula)


@pytest.fixture(scope="module")
def drawn(generator: CopulaGenerator, encoder: Encoder) -> Batch:
    made = generator.draw([0] * 400 + [1] * 400, range(800), 5)
    return encoder.encode_set(made, np.arange(800))


def of(batch: Batch, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and masks of patients."""
    return batch.value[rows].numpy(), batch.mask[rows].numpy()


def test_each_outcome_keeps_how_often_and_how_high_a_variable_is_measured(
    real: SequenceSet, batch: Batch, drawn: Batch
) -> None:
    assert real.label is not None
    for label in (0, 1):
        value, mask = of(batch, np.flatnonzero(real.label == label))
        own, own_mask = of(drawn, np.arange(400) + 400 * label)
        assert np.abs(mask.mean(axis=0) - own_mask.mean(axis=0)).max() < 0.1
        for variable in (0, 1):
            there, here = (
                value[:, :, variable][mask[:, :, variable] > 0],
                own[:, :, variable][own_mask[:, :, variable] > 0],
            )
            assert here.mean() == pytest.approx(there.mean(), abs=0.15)
            assert here.std() == pytest.approx(there.std(), abs=0.15)
        assert own_mask[:, :, 2].sum() == 0, "what was never measured is not drawn"


def test_what_goes_together_in_real_patients_does_so_in_drawn_ones(encoder: Encoder) -> None:
    """Given a heart rate that is a patient's own, then two of its measurements correlate as they do in real patients,
    and values of two patients do not."""
    random = np.random.default_rng(0)
    base = binary_set(600, seed=3)
    level = random.normal(0, 1, len(base))
    value = np.where(
        base.variable == 0, 80 + 15 * level[base.subject] + random.normal(0, 3, len(base.value)), base.value
    )
    own = replace(base, value=value.astype(np.float32))
    assert own.label is not None
    encoder = Encoder.fit(own, np.arange(len(own)), 48.0, BINS)
    batch = encoder.encode_set(own, np.arange(len(own)))
    copula = Copula.fit(batch, own.label.astype(np.int64))
    made = CopulaGenerator(encoder, Emission.fit(own, np.arange(len(own)), encoder), own.outcome, copula)
    again = encoder.encode_set(made.draw([0] * 600, range(600), 1), np.arange(600))

    def correlation(of: Batch) -> float:
        both = (of.mask[:, 1, 0] > 0) & (of.mask[:, 4, 0] > 0)
        return float(spearmanr(of.value[both, 1, 0], of.value[both, 4, 0]).statistic)

    assert correlation(batch) > 0.8
    assert correlation(again) == pytest.approx(correlation(batch), abs=0.15)


def test_a_drawn_patient_depends_on_seed_outcome_and_place_and_is_no_real_one(
    real: SequenceSet, generator: CopulaGenerator, batch: Batch, drawn: Batch
) -> None:
    one, other = generator.draw([0, 1, 0], [4, 9, 5], 5), generator.draw([1, 0], [9, 5], 5)
    assert one.take(np.array([1, 2])).value.tolist() == pytest.approx(other.value.tolist(), abs=1e-3)
    assert generator.draw([0], [4], 6).value.tolist() != generator.draw([0], [4], 5).value.tolist()
    rows = {row.tobytes() for row in batch.value.numpy()}
    assert not any(row.tobytes() in rows for row in drawn.value.numpy() if np.count_nonzero(row) > 1)
