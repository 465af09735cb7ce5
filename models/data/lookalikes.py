"""Patients and molecules that are nearly the same as another: whatever a copy has lost on its way.

Patients are compared by their cells: variable, time and value, the two numbers to eight binary digits, so that a
rounded copy keeps most of its cells. Only cells that hardly anybody else has count: a pulse of 80 at noon says nothing.
Pairs are found by min-hashing (Broder 1997), in time that grows with the cells and not with the pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.canonical import SequenceSet

ALIKE = 0.5
"""Share of the cells of two (Jaccard) from which they are one patient. In PhysioNet 2012 and in PBC2 no two
patients have more than an eighth in common."""

LEAST_CELLS = 10
"""A patient with fewer cells that hardly anybody else has is like too many."""

RARE, RARE_SHARE = 3, 1000
"""A cell counts where no more than three patients have it, or one in a thousand: who was copied more often than that is
found only where the copies are exact (models/data/duplicates.py)."""

BANDS, ROWS = 24, 3
"""Of min-hashes: who share half of their cells agree in all rows of some band in 96 of 100 cases, who share nine tenths
always (but for 1 in 10^13), who share a tenth in 2 of 100."""

MOST_SEEN = 5
"""Members of a part that a later one in the same bucket is held against."""

MOST_MOLECULES = 100_000
"""As many take half a minute of one core."""

Cells = NDArray[np.uint64]


def patients(cases: SequenceSet) -> Iterator[tuple[int, int]]:
    """Pairs (in an earlier part, in a later part) of subjects who are alike, exact copies included."""
    cells, owner = _rare(*_cells(cases), len(cases))
    counts = np.bincount(owner, minlength=len(cases))
    enough = np.flatnonzero(counts >= LEAST_CELLS)
    kept = np.isin(owner, enough)
    cells, owner = cells[kept], owner[kept]
    if not len(cells):
        return
    starts = np.searchsorted(owner, enough)
    own = dict(zip(enough.tolist(), np.split(cells, starts[1:]), strict=True))
    tried: set[tuple[int, int]] = set()
    for band in range(BANDS):
        for pair in _together(enough, _signature(cells, starts, band), cases.split):
            if pair not in tried:
                tried.add(pair)
                if _shared(own[pair[0]], own[pair[1]]) >= ALIKE:
                    yield pair


def _cells(cases: SequenceSet) -> tuple[Cells, NDArray[np.intp]]:
    """(C,) every measurement and static value as one number, and the subject (C,) whose it is."""
    measured = _packed(cases.variable.astype(np.uint64), cases.time, cases.value)
    subject, column = np.nonzero(~np.isnan(cases.static))
    # A static value stands at a time of its own, -1, and after the variables.
    fixed = _packed(
        (len(cases.variables) + column).astype(np.uint64), np.full(len(column), -1.0), cases.static[subject, column]
    )
    return np.concatenate([measured, fixed]), np.concatenate([cases.subject.astype(np.intp), subject])


def _packed(variable: NDArray[np.uint64], time: NDArray[np.float64], value: NDArray[np.float32]) -> Cells:
    """Variable, time and value in 16 bits each."""
    packed: Cells = (variable << np.uint64(32)) | (_halved(time) << np.uint64(16)) | _halved(value)
    return packed


def _halved(numbers: NDArray[np.floating[Any]]) -> NDArray[np.uint64]:
    """The upper half of each number's float32, rounded: sign, exponent and seven digits of the fraction (bfloat16)."""
    bits = (numbers.astype(np.float32) + np.float32(0)).view(np.uint32)  # adding 0 makes one of 0 and -0
    return ((bits + np.uint32(0x8000)) >> np.uint32(16)).astype(np.uint64)


def _rare(cells: Cells, owner: NDArray[np.intp], subjects: int) -> tuple[Cells, NDArray[np.intp]]:
    """The cells of few, sorted by subject and then by cell, each once."""
    order = np.lexsort((owner, cells))
    cells, owner = cells[order], owner[order]
    first = np.ones(len(cells), dtype=bool)
    first[1:] = (np.diff(cells) != 0) | (np.diff(owner) != 0)
    cells, owner = cells[first], owner[first]
    _, place, holders = np.unique(cells, return_inverse=True, return_counts=True)
    few = holders[place] <= max(RARE, subjects // RARE_SHARE)
    cells, owner = cells[few], owner[few]
    order = np.argsort(owner, kind="stable")
    return cells[order], owner[order]


def _signature(cells: Cells, starts: NDArray[np.intp], band: int) -> Cells:
    """(S,) for each subject, whose cells begin at `starts`, the min-hashes of a band as one number."""
    random = np.random.default_rng(band)
    found = np.zeros(len(starts), np.uint64)
    for _ in range(ROWS):
        factor, offset = random.integers(0, 2**63, 2, dtype=np.uint64)
        mixed = (cells ^ offset) * (factor | np.uint64(1))
        mixed ^= mixed >> np.uint64(29)
        mixed *= np.uint64(0xBF58476D1CE4E5B9)  # the multiplier of splitmix64
        found = found * np.uint64(0x9E3779B97F4A7C15) + np.minimum.reduceat(mixed ^ (mixed >> np.uint64(32)), starts)
    return found


def _together(subjects: NDArray[np.intp], signature: Cells, split: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Pairs of subjects of different parts with one signature, the earlier part first."""
    order = np.lexsort((split[subjects], signature))
    subjects, signature = subjects[order], signature[order]
    same, several = np.diff(signature) == 0, np.zeros(len(signature), dtype=bool)
    several[1:] |= same
    several[:-1] |= same
    subjects, signature = subjects[several], signature[several]
    for bucket in np.split(subjects, np.flatnonzero(np.diff(signature)) + 1) if len(subjects) else ():
        if split[bucket[0]] == split[bucket[-1]]:
            continue
        for later in np.unique(split[bucket])[1:]:
            seen = [one for part in range(later) for one in bucket[split[bucket] == part][:MOST_SEEN].tolist()]
            yield from ((one, other) for other in bucket[split[bucket] == later].tolist() for one in seen)


def _shared(one: Cells, other: Cells) -> float:
    """Jaccard index of two sets of cells, sorted."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)


def molecules(smiles: Sequence[str]) -> tuple[list[str], list[bytes]]:
    """Canonical SMILES of each, and a hash of its Morgan environments up to two bonds wide with their counts (RDKit).

    Two molecules with equal environments have a Tanimoto similarity of 1: mirror images, above all.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    generator = GetMorganGenerator(radius=2)
    canonical, environments = [], []
    with rdBase.BlockLogs():
        for text in smiles:
            molecule = Chem.MolFromSmiles(text)
            canonical.append(Chem.MolToSmiles(molecule))
            counted = generator.GetSparseCountFingerprint(molecule).ToBinary()
            environments.append(hashlib.sha256(counted).digest())
    return canonical, environments
