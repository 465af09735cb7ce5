"""From observations at irregular times to the arrays that networks and trees read. The same numbers in both ways in:
patients as they come with a job, and the data set of a training.

Values are held to the contract's limits, skewed ones go through a logarithm, and all become z-scores of the fitting
part's observations. Time is cut into bins of equal width (with a horizon) or into visits, one per distinct time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.data.canonical import SequenceSet
from models.prediction.patients import Patient

Floats = NDArray[np.float64]

FAR = 6.0
"""Largest z-score: beyond it nothing is learnt, and a slip of the pen must not decide."""

SKEWED = 1.5


@dataclass(frozen=True)
class Scale:
    """How a variable becomes a z-score: held to `low` and `high`, `log(x + offset)` where there is one, then scaled."""

    name: str
    low: float
    high: float
    unit: str | None
    offset: float | None
    mean: float
    deviation: float
    natural: bool = False
    """Whether the limits are nature's, beyond which the data set left values out."""

    def apply(self, value: Floats) -> Floats:
        """Return the z-scores of raw values; NaN stays NaN."""
        held = np.clip(value, self.low, self.high)
        if self.offset is not None:
            held = np.log(held + self.offset)
        scaled: Floats = np.clip((held - self.mean) / self.deviation, -FAR, FAR)
        return scaled

    def undo(self, scaled: Floats) -> Floats:
        """Return the raw values of z-scores."""
        held = np.asarray(scaled, dtype=np.float64) * self.deviation + self.mean
        raw: Floats = held if self.offset is None else np.exp(held) - self.offset
        return raw

    @classmethod
    def fit(cls, name: str, value: Floats, limits: Sequence[Any] | None) -> Scale:
        """Fit to raw values; without known limits they are half the range of the values beyond either end."""
        value = value[np.isfinite(value)]
        low, high, unit = (*limits, None)[:3] if limits else (*_widened(value), None)
        natural = limits is not None
        if not len(value):
            return cls(name, float(low), float(high), unit, None, 0.0, 1.0, natural)
        value = np.clip(value, low, high)
        offset, middle = None, float(np.median(value))
        if low >= 0 and middle > 0 and _skew(value) > SKEWED:
            # A tenth of the median keeps the logarithm tame at zero, whatever the unit.
            offset = float(f"{middle / 10:.6g}")
            value = np.log(value + offset)
        deviation = float(value.std())
        deviation = deviation if deviation > 1e-9 else 1.0
        return cls(name, float(low), float(high), unit, offset, float(value.mean()), deviation, natural)


@dataclass(frozen=True, eq=False)
class Batch:
    """N patients on T bins with V variables and S static values; all float32, z-scores.

    `value`, `low`, `high`, `last` (N, T, V): mean, least, largest and last in the bin, 0 where nothing was measured;
    `count` (N, T, V); `static`, `known` (N, S): 0 where missing; `time` (N, T): start of the bin, NaN after the last.
    """

    value: Tensor
    low: Tensor
    high: Tensor
    last: Tensor
    count: Tensor
    static: Tensor
    known: Tensor
    time: Floats

    @property
    def mask(self) -> Tensor:
        """(N, T, V) 1 where something was measured."""
        return (self.count > 0).to(self.value.dtype)

    def __len__(self) -> int:
        return len(self.static)

    def take(self, rows: Any) -> Batch:
        """Return the patients at `rows` (positions)."""
        index = torch.as_tensor(rows, dtype=torch.long)
        return Batch(**{name: getattr(self, name)[index] for name in TENSORS}, time=self.time[index.cpu().numpy()])

    def until(self, bins: int) -> Batch:
        """Return what was known at the end of the bin number `bins` (from 1)."""
        cut = {name: getattr(self, name)[:, :bins] for name in TENSORS[:5]}
        return replace(self, **cut, time=self.time[:, :bins])

    def to(self, device: str) -> Batch:
        """Return the batch on a device."""
        return Batch(**{name: getattr(self, name).to(device) for name in TENSORS}, time=self.time)


TENSORS = ("value", "low", "high", "last", "count", "static", "known")


@dataclass(frozen=True)
class Encoder:
    """`bins` of equal width from 0 to `horizon`; without a horizon at most `bins` visits, the latest."""

    unit: str
    horizon: float | None
    bins: int
    variables: tuple[Scale, ...]
    statics: tuple[Scale, ...]

    @classmethod
    def fit(
        cls,
        data: SequenceSet,
        rows: NDArray[np.intp],
        horizon: float | None,
        bins: int,
        limits: Mapping[str, Any] | None = None,
    ) -> Encoder:
        """Fit to the subjects at `rows`. `limits`: name -> (low, high, unit) where nature or the data set sets them."""
        part, limits = data.take(rows), limits or {}
        variables = [
            Scale.fit(name, part.value[part.variable == code].astype(np.float64), limits.get(name))
            for code, name in enumerate(data.variables)
        ]
        statics = [
            Scale.fit(name, part.static[:, code].astype(np.float64), limits.get(name))
            for code, name in enumerate(data.statics)
        ]
        return cls(data.unit, horizon, bins, tuple(variables), tuple(statics))

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> Encoder:
        """Return the encoder of a model version; raises KeyError for a part that is not there."""
        own = manifest["encoder"]
        variables, statics = (tuple(Scale(**one) for one in own[name]) for name in ("variables", "statics"))
        return cls(own["unit"], own["horizon"], own["bins"], variables, statics)

    def as_dict(self) -> dict[str, Any]:
        """Return what `from_manifest` reads under `encoder`."""
        return asdict(self)

    def encode(self, patients: Sequence[Patient]) -> Batch:
        """Return the batch of patients as `patients.parse` gives them."""
        codes = {one.name: code for code, one in enumerate(self.variables)}
        counts = [len(one.observations) for one in patients]
        columns = np.array(
            [(time, codes[name], value) for one in patients for time, name, value in one.observations], dtype=np.float64
        ).reshape(-1, 3)
        static = np.array([[one.static.get(s.name, np.nan) for s in self.statics] for one in patients])
        subject = np.repeat(np.arange(len(patients)), counts)
        values = columns[:, 2].astype(np.float32)
        return self._batch(subject, columns[:, 0], columns[:, 1].astype(np.int64), values, static)

    def encode_set(self, data: SequenceSet, rows: NDArray[np.intp]) -> Batch:
        """Return the batch of the subjects at `rows` of a data set with this encoder's variables and statics."""
        if data.variables != tuple(v.name for v in self.variables) or data.statics != tuple(
            s.name for s in self.statics
        ):
            raise ValueError("the data set's variables or static values are not those of the encoder")
        part = data.take(rows)
        return self._batch(
            part.subject.astype(np.int64), part.time, part.variable.astype(np.int64), part.value, part.static
        )

    def _batch(
        self,
        subject: NDArray[np.int64],
        time: Floats,
        variable: NDArray[np.int64],
        value: NDArray[np.float32],
        static: NDArray[Any],
    ) -> Batch:
        """Columns (M,) of observations and raw static values (N, S) to a batch."""
        count = len(static)
        order = np.lexsort((value, variable, time, subject))
        subject, time, variable, value = subject[order], time[order], variable[order], value[order]
        # The same measurement sent twice is one measurement.
        again = np.ones(len(value), dtype=bool)
        again[1:] = (np.diff(subject) != 0) | (np.diff(time) != 0) | (np.diff(variable) != 0) | (np.diff(value) != 0)
        kept = again & (time >= 0) & (time <= (np.inf if self.horizon is None else self.horizon))
        subject, time, variable, value = subject[kept], time[kept], variable[kept], value[kept]
        scaled = np.zeros(len(value))
        for code, scale in enumerate(self.variables):
            own = variable == code
            scaled[own] = scale.apply(value[own].astype(np.float64))
        bins, times = self._bins(subject, time, count)
        if len(bins) and bins.min() < 0:
            read = bins >= 0
            subject, variable, scaled, bins = subject[read], variable[read], scaled[read], bins[read]
        arrays = _aggregated((subject * times.shape[1] + bins) * len(self.variables) + variable, scaled)
        shape = (*times.shape, len(self.variables))
        dense = [_dense(arrays[0], part, shape) for part in arrays[1:]]
        raw = np.asarray(static, dtype=np.float64).reshape(count, len(self.statics))
        fixed = np.column_stack(
            [s.apply(raw[:, code]) for code, s in enumerate(self.statics)] or [np.empty((count, 0))]
        )
        parts = [*dense, np.nan_to_num(fixed), ~np.isnan(fixed)]
        tensors = [torch.from_numpy(part.astype(np.float32)) for part in parts]
        return Batch(**dict(zip(TENSORS, tensors, strict=True)), time=times)

    def _bins(self, subject: NDArray[np.int64], time: Floats, count: int) -> tuple[NDArray[np.int64], Floats]:
        """Bin of each observation (M,), -1 where it is too early to be read, and the bins' times (N, T)."""
        if self.horizon is not None:
            width = self.horizon / self.bins
            grid = np.tile(np.arange(self.bins) * width, (count, 1))
            return np.minimum((time / width).astype(np.int64), self.bins - 1), grid
        fresh = np.ones(len(time), dtype=bool)
        fresh[1:] = (np.diff(subject) != 0) | (np.diff(time) != 0)
        number = np.cumsum(fresh) - 1
        visits = np.bincount(subject[fresh], minlength=count)
        firsts = np.cumsum(visits) - visits
        late = np.maximum(visits - self.bins, 0)
        bins = number - firsts[subject] - late[subject]
        # A patient without any visit has one, empty, at time 0: the static values still say something.
        times = np.full((count, max(1, int(np.minimum(visits, self.bins).max(initial=0)))), np.nan)
        read = bins >= 0
        times[subject[read], bins[read]] = time[read]
        times[visits == 0, 0] = 0.0
        return bins, times


def _aggregated(key: NDArray[np.int64], value: Floats) -> tuple[NDArray[np.int64], Floats, Floats, Floats, Floats, Any]:
    """Cells, and in each the mean, least, largest, last and number of `value`, whose order is that of time."""
    order = np.argsort(key, kind="stable")
    key, value = key[order], value[order]
    cells, first, count = np.unique(key, return_index=True, return_counts=True)
    if not len(cells):
        empty = np.empty(0)
        return cells, empty, empty, empty, empty, empty
    mean = np.add.reduceat(value, first) / count
    least, most = np.minimum.reduceat(value, first), np.maximum.reduceat(value, first)
    return cells, mean, least, most, value[first + count - 1], count


def _dense(cells: NDArray[np.int64], value: Any, shape: tuple[int, ...]) -> Floats:
    flat = np.zeros(int(np.prod(shape)))
    flat[cells] = value
    return flat.reshape(shape)


def _widened(value: Floats) -> tuple[float, float]:
    if not len(value):
        return 0.0, 1.0
    low, high = float(value.min()), float(value.max())
    half = (high - low) / 2
    return (max(0.0, low - half) if low >= 0 else low - half), high + half


def _skew(value: Floats) -> float:
    gap = value - value.mean()
    spread = float(np.sqrt((gap**2).mean()))
    return float((gap**3).mean()) / spread**3 if spread > 0 else 0.0
