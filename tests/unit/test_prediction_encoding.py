"""From observations to arrays: by hand, and the same from patients as from a data set."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from models.data.canonical import SequenceSet
from models.prediction.encoding import TENSORS, Batch, Encoder, Scale
from models.prediction.patients import Observation, Patient
from tests.sequence_sets import VARIABLES, binary_set, survival_set


def patients(data: SequenceSet) -> list[Patient]:
    found = []
    for number in range(len(data)):
        own = slice(data.starts[number], data.starts[number + 1])
        columns = zip(data.time[own], data.variable[own], data.value[own], strict=True)
        observations = tuple(Observation(float(t), VARIABLES[v], float(x)) for t, v, x in columns)
        known = {n: float(x) for n, x in zip(data.statics, data.static[number], strict=True) if not np.isnan(x)}
        found.append(Patient(known, observations))
    return found


def same(a: Batch, b: Batch) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in TENSORS) and bool(
        np.array_equal(a.time, b.time, equal_nan=True)
    )


def plain(name: str, mean: float = 0.0, deviation: float = 1.0) -> Scale:
    return Scale(name, -1000, 1000, None, None, mean, deviation)


@pytest.mark.parametrize(("data", "horizon", "bins"), [(binary_set(60), 48.0, 24), (survival_set(60), None, 4)])
def test_patients_and_the_data_set_give_the_same_numbers(data: SequenceSet, horizon: float | None, bins: int) -> None:
    """Given one set both ways, then every array is equal bit by bit, also after the encoder was JSON."""
    encoder = Encoder.fit(data, data.part(0), horizon, bins, {"HR": (10, 300, "1/min")})
    again = Encoder.from_manifest(json.loads(json.dumps({"encoder": encoder.as_dict()})))
    assert again == encoder
    every = np.arange(len(data))
    assert same(encoder.encode_set(data, every), again.encode(patients(data)))
    assert same(encoder.encode_set(data, every[:7]), again.encode(patients(data)[:7]))


def test_a_bin_holds_mean_least_largest_last_and_number_by_hand() -> None:
    """Given 80, 100 and 90 in the second of two-hour bins, one of them sent twice, and 60 in the last."""
    encoder = Encoder("hours", 8.0, 4, (plain("HR", 80, 10),), (plain("Age", 60, 20),))
    times = [(2.0, 80.0), (2.5, 100.0), (2.5, 100.0), (3.9, 90.0), (8.0, 60.0)]
    one = Patient({"Age": 70.0}, tuple(Observation(time, "HR", value) for time, value in times))
    batch = encoder.encode([one, Patient({}, ())])
    assert batch.value[0, :, 0].tolist() == [0.0, 1.0, 0.0, -2.0]
    assert batch.low[0, :, 0].tolist() == [0.0, 0.0, 0.0, -2.0]
    assert batch.high[0, :, 0].tolist() == [0.0, 2.0, 0.0, -2.0]
    assert batch.last[0, :, 0].tolist() == [0.0, 1.0, 0.0, -2.0]
    assert batch.count[0, :, 0].tolist() == [0.0, 3.0, 0.0, 1.0]
    assert batch.mask[0, :, 0].tolist() == [0.0, 1.0, 0.0, 1.0]
    assert batch.static.tolist() == [[0.5], [0.0]]
    assert batch.known.tolist() == [[1.0], [0.0]]
    assert batch.time[0].tolist() == [0.0, 2.0, 4.0, 6.0]
    assert batch.until(2).value.shape == (2, 2, 1)


def test_visits_are_the_distinct_times_and_the_latest_are_read() -> None:
    encoder = Encoder("years", None, 2, (plain("HR"), plain("K")), ())
    seen = [(0.0, "HR", 1.0), (1.5, "HR", 2.0), (1.5, "K", 3.0), (4.0, "K", 4.0)]
    batch = encoder.encode([Patient({}, tuple(Observation(*one) for one in seen)), Patient({}, ())])
    assert batch.time[0].tolist() == [1.5, 4.0]
    assert batch.value[0].tolist() == [[2.0, 3.0], [0.0, 4.0]]
    assert batch.time[1, 0] == 0.0
    assert np.isnan(batch.time[1, 1])
    assert batch.count[1].sum() == 0


def test_a_scale_is_that_of_the_fitting_part_alone() -> None:
    """Given a set whose test part is shifted by 1,000, then the encoder is as without the shift."""
    data = binary_set(80)
    test = np.isin(data.subject, data.part(2))
    shifted = SequenceSet(
        **{**data.__dict__, "value": np.where(test, data.value + 1000, data.value).astype(np.float32)}
    )
    rows = np.flatnonzero(data.split != 2)
    assert Encoder.fit(data, rows, 48.0, 24) == Encoder.fit(shifted, rows, 48.0, 24)


def test_skewed_values_pass_through_a_logarithm_and_come_back() -> None:
    value = np.exp(np.random.default_rng(0).normal(0, 1.2, 4000))
    scale = Scale.fit("Bilirubin", value, None)
    assert scale.offset is not None
    assert not scale.natural
    scaled = scale.apply(value)
    assert abs(scaled.mean()) < 0.01
    assert abs(scaled.std() - 1) < 0.01
    assert np.allclose(scale.undo(scaled), value)
    assert Scale.fit("HR", np.random.default_rng(0).normal(80, 10, 4000), None).offset is None


def test_values_beyond_the_limits_are_held_and_natural_limits_say_so() -> None:
    scale = Scale.fit("pH", np.array([7.3, 7.4, 7.35, 735.0]), (6.5, 8.0, "1"))
    assert (scale.low, scale.high, scale.unit, scale.natural) == (6.5, 8.0, "1", True)
    assert scale.apply(np.array([735.0])) == scale.apply(np.array([8.0]))
    never = Scale.fit("Never", np.array([]), None)
    assert never.apply(np.array([0.5])).tolist() == [0.5]


def test_a_set_with_other_variables_is_refused() -> None:
    data = binary_set(30)
    encoder = Encoder.fit(data, np.arange(30), 48.0, 24)
    other = SequenceSet(**{**data.__dict__, "variables": ("HR", "Other", "Never")})
    with pytest.raises(ValueError, match="not those of the encoder"):
        encoder.encode_set(other, np.arange(3))
