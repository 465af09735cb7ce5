"""Which part a case belongs to where nobody said: by the hash of its patient, the same on every machine and day."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.canonical import TEST, TRAIN, VALIDATION

FOLDS = 5
TEST_FOLD = 4
VALIDATION_SHARE = 6
"""One in six of what is not test."""


def number(case: str | bytes) -> int:
    """The sha256 of an id or of a case's bytes, as a number."""
    return int.from_bytes(hashlib.sha256(case.encode() if isinstance(case, str) else case).digest(), "big")


def key(case: str | bytes) -> int:
    """The first 8 bytes of that sha256: what stands in place of the id."""
    return number(case) >> 192


def keys(cases: Iterable[str | bytes]) -> NDArray[np.uint64]:
    """(N,) keys of cases that differ."""
    return np.array([key(case) for case in cases], dtype=np.uint64)


def unique_keys(digests: Sequence[bytes], *order: NDArray[Any]) -> NDArray[np.uint64]:
    """(N,) keys of cases that may be copies of each other: from the second copy on, its number is hashed along.

    Copies are counted in the order of `order` (part, label, ...), so that the file's order does not matter.
    """
    found = np.empty(len(digests), dtype=np.uint64)
    seen: dict[bytes, int] = {}
    rows = np.lexsort(order[::-1]) if order else np.arange(len(digests))
    for row in rows:
        copies = seen[digests[row]] = seen.get(digests[row], -1) + 1
        found[row] = key(digests[row] + (copies.to_bytes(4, "big") if copies else b""))
    return found


def codes(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(N,) a number for each different hash, by their order, which says nothing of the ids' own order or the file's."""
    return np.unique(hashes, return_inverse=True)[1].astype(np.int64)


def fold(case: str | bytes) -> int:
    """0 to 4."""
    return number(case) % FOLDS


def folds(cases: Iterable[str | bytes]) -> NDArray[np.uint8]:
    """(N,) folds."""
    return np.array([fold(case) for case in cases], dtype=np.uint8)


def part(patient: str | bytes) -> int:
    """TRAIN, VALIDATION or TEST: fold 4 is test, and of the rest one in six is validation."""
    hashed = number(patient)
    if hashed % FOLDS == TEST_FOLD:
        return TEST
    return VALIDATION if (hashed // FOLDS) % VALIDATION_SHARE == 0 else TRAIN


def parts(patients: Iterable[str | bytes]) -> NDArray[np.uint8]:
    """(N,) parts."""
    return np.array([part(patient) for patient in patients], dtype=np.uint8)
