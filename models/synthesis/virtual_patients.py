"""A trained generator of patients: the same patient for the same seed, outcome and place, whatever is asked beside it.

As models/synthesis/drawing.py does for pictures: a random stream for each patient, double precision, batches of one
size, weights stored in half precision.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.data import splitting
from models.data.canonical import SequenceSet
from models.prediction.encoding import Encoder
from models.synthesis.emission import Emission
from models.synthesis.sequence_networks import STEP, Course, Noise, SequenceGenerator, Sizes

Floats = NDArray[np.float64]

BATCH = 64
CLASSES = ("no", "yes")
"""Of a binary outcome, by its value 0 or 1."""


@dataclass(frozen=True, eq=False)
class Writer(ABC):
    """Draws courses in some way, and writes them as the data set writes its measurements. It is not changed by use."""

    encoder: Encoder
    emission: Emission
    outcome: str

    @abstractmethod
    def courses(self, labels: Sequence[int], streams: Sequence[np.random.Generator]) -> list[Course]:
        """One patient of each outcome (0 or 1) in `labels`, from a random stream of its own; at most BATCH."""

    def draw(self, labels: Sequence[int], places: Sequence[int], seed: int) -> SequenceSet:
        """Return the patients at `places` of the series of `seed`, one of each outcome (0 or 1) in `labels`."""
        found: list[tuple[Any, ...]] = []
        for at in range(0, len(places), BATCH):
            some, where = labels[at : at + BATCH], places[at : at + BATCH]
            streams = [_stream(seed, label, place) for label, place in zip(some, where, strict=True)]
            pairs = zip(self.courses(some, streams), streams, strict=True)
            found += [self._written(one, random) for one, random in pairs]
        return self._set(found, labels, places, seed)

    def _written(self, one: Course, random: np.random.Generator) -> tuple[Any, ...]:
        """Times, variables, values (M,) and static values (S,)."""
        value, mask, static, known = (part.numpy() for part in one)
        fixed = self.emission.statics(static, known, self.encoder)
        return (*self.emission.measurements(value, mask, self.encoder, random), fixed)

    def _set(
        self, drawn: list[tuple[Any, ...]], labels: Sequence[int], places: Sequence[int], seed: int
    ) -> SequenceSet:
        names = [named(seed, label, place) for label, place in zip(labels, places, strict=True)]
        times, variables, values = (
            np.concatenate([one[column] for one in drawn] or [np.empty(0)]) for column in range(3)
        )
        subject = np.repeat(np.arange(len(drawn), dtype=np.int32), [len(one[0]) for one in drawn])
        static = np.array([one[3] for one in drawn], dtype=np.float32).reshape(len(drawn), len(self.encoder.statics))
        return SequenceSet(
            split=np.zeros(len(drawn), dtype=np.uint8), key=splitting.keys(names), fold=splitting.folds(names),
            subject=subject, time=times.astype(np.float64), variable=variables.astype(np.int16),
            value=values.astype(np.float32), variables=tuple(one.name for one in self.encoder.variables),
            static=static, statics=tuple(one.name for one in self.encoder.statics),
            outcome=self.outcome, unit=self.encoder.unit, label=np.array(labels, dtype=np.float32),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class PatientGenerator(Writer):
    """A generator in double precision and evaluation mode."""

    network: SequenceGenerator
    sizes: Sizes

    @torch.no_grad()
    def courses(self, labels: Sequence[int], streams: Sequence[np.random.Generator]) -> list[Course]:
        """All in one batch, which has the same size each time."""
        sizes = self.sizes
        shapes = ((sizes.noise,), (sizes.bins, STEP), (sizes.bins, sizes.variables), (sizes.statics,))
        parts = [np.zeros((BATCH, *shape)) for shape in shapes]
        y = np.zeros(BATCH, dtype=np.int64)
        for row, (label, random) in enumerate(zip(labels, streams, strict=True)):
            y[row] = label
            for number, part in enumerate(parts):
                part[row] = (
                    random.standard_normal(part.shape[1:]) if number < 2 else random.logistic(size=part.shape[1:])
                )
        drawn = self.network(Noise(*(torch.from_numpy(part) for part in parts)), torch.from_numpy(y))
        return [Course(*(part[row] for part in drawn)) for row in range(len(labels))]


def named(seed: int, label: int, place: int) -> str:
    """Return the name of a virtual patient, which cannot be taken for a person's."""
    return f"SYNTHETIC-{seed}-{label}-{place + 1:05d}"


def packed(network: nn.Module) -> bytes:
    """Return the weights of a generator (without its discriminator) as a file, in half precision."""
    return safetensors.torch.save({name: value.half().contiguous() for name, value in network.state_dict().items()})


def unpacked(content: bytes, sizes: Sizes, encoder: Encoder, emission: Emission, outcome: str) -> PatientGenerator:
    """Return the generator that `packed` stored; raises RuntimeError where the weights do not fit."""
    network = SequenceGenerator(sizes, levels=levels(encoder, emission))
    network.load_state_dict(safetensors.torch.load(content))
    network.double()
    return PatientGenerator(encoder, emission, outcome, network.eval().requires_grad_(False), sizes)


def from_manifest(content: bytes, manifest: Mapping[str, Any]) -> PatientGenerator:
    """Return the generator of a version; raises KeyError, TypeError or RuntimeError where they do not fit."""
    sizes, emission = Sizes(**manifest["network"]["config"]), Emission.read(manifest["emission"])
    return unpacked(content, sizes, Encoder.from_manifest(manifest), emission, str(manifest["outcome"]))


def levels(encoder: Encoder, emission: Emission) -> list[Tensor]:
    """Return the z-scores that each static value can have, empty where it may have any."""
    return [
        torch.from_numpy(scale.apply(np.array(own, dtype=np.float64))).float()
        for scale, own in zip(encoder.statics, emission.levels, strict=True)
    ]


def _stream(seed: int, label: int, place: int) -> np.random.Generator:
    """NumPy promises that this stream stays the same."""
    return np.random.Generator(np.random.PCG64([seed, label, place]))
