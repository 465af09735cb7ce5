"""Cases that stand in the set more than once: word for word, and nearly. Near ones are looked for between parts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from models.data import lookalikes
from models.data.canonical import PARTS, AnySet, ImageSet, MoleculeSet, SequenceSet
from models.data.problems import Notes

ALIKE = 0.9
"""Correlation of gradients from which two images are one. Measured at 28 px: in PneumoniaMNIST every pair above .9
is an exact copy and different patients stay below .86; BreastMNIST has 173 pairs above, frames of the same lesion."""

SIDE = 32
"""Larger images are looked at as thumbnails of this side."""

MOST_PAIRS = 1_000_000_000
"""Pairs between two parts that are compared; a set of 10,000 has 20 million, and more than this takes minutes."""

Fingerprints = Sequence[bytes | str]

Alike = Iterator[tuple[int, int, Iterable[int]]]
"""Two parts, the earlier first, and the positions of those cases of the later that are like one of the earlier."""


def find(cases: AnySet, notes: Notes) -> None:
    """Warn of copies between the parts and inside each, and of cases that are like one of an earlier part."""
    if isinstance(cases, ImageSet):
        marks: Fingerprints = [hashlib.sha256(image.tobytes()).digest() for image in cases.images]
        _exact(cases, marks, notes)
        _conflicting(marks, cases.labels, notes)
        _near(cases, marks, _images(cases, notes), f"correlation of gradients {ALIKE} or more", notes)
    elif isinstance(cases, SequenceSet):
        marks = _histories(cases)
        _exact(cases, marks, notes)
        how = f"{lookalikes.ALIKE:.0%} or more of the rounded cells that hardly anybody else has"
        _near(cases, marks, _patients(cases), how, notes)
    elif len(cases) <= lookalikes.MOST_MOLECULES:
        marks, environments = lookalikes.molecules(cases.smiles)
        _exact(cases, marks, notes)
        _near(cases, marks, _equal(cases, environments), "Tanimoto similarity 1 of Morgan counts", notes)
    else:
        _exact(cases, cases.smiles, notes)
        notes.facts["near_duplicates"] = "not looked for: too many molecules"


def _histories(cases: SequenceSet) -> Fingerprints:
    """What two exact copies of a subject have in common."""
    starts, found = cases.starts, []
    for number in range(len(cases)):
        own = slice(starts[number], starts[number + 1])
        if starts[number] == starts[number + 1]:
            found.append(b"%d" % number)  # Subjects of whom nothing was observed are not copies of each other.
            continue
        parts = (cases.time[own], cases.variable[own], cases.value[own], cases.static[number])
        found.append(hashlib.sha256(b"".join(part.tobytes() for part in parts)).digest())
    return found


def _exact(cases: AnySet, marks: Fingerprints, notes: Notes) -> None:
    inside = [Counter(marks[row] for row in cases.part(which)) for which in range(len(PARTS))]
    for one, other in combinations(range(len(PARTS)), 2):
        shared = len(inside[one].keys() & inside[other].keys())
        notes.warn("duplicates", f"The same cases stand in {PARTS[one]} and in {PARTS[other]}.", shared)
    for name, counted in zip(PARTS, inside, strict=True):
        again = counted.total() - len(counted)
        notes.warn("duplicates", f"Cases of {name} are exact copies of another case of {name}.", again)


def _conflicting(marks: Fingerprints, labels: NDArray[np.int64], notes: Notes) -> None:
    seen: dict[bytes | str, set[int]] = {}
    for mark, label in zip(marks, labels.tolist(), strict=True):
        seen.setdefault(mark, set()).add(label)
    count = sum(len(found) > 1 for found in seen.values())
    notes.warn("duplicates", "The same image stands there under different labels.", count)


def _near(cases: AnySet, marks: Fingerprints, alike: Alike, how: str, notes: Notes) -> None:
    """Warn of cases that have a near, not exact, copy in an earlier part."""
    for one, other, rows in alike:
        exact = {marks[row] for row in cases.part(one)}
        count = sum(marks[row] not in exact for row in rows)
        notes.warn("duplicates", f"Cases of {PARTS[other]} nearly equal one of {PARTS[one]} ({how}).", count)


def _images(cases: ImageSet, notes: Notes) -> Alike:
    parts = [cases.part(which) for which in range(len(PARTS))]
    views = gradients(cases.images)
    for one, other in combinations(range(len(PARTS)), 2):
        if len(parts[one]) * len(parts[other]) > MOST_PAIRS:
            notes.facts["near_duplicates"] = "not looked for: too many pairs"
            continue
        yield one, other, parts[other][nearest(views[parts[other]], views[parts[one]]) >= ALIKE]


def _patients(cases: SequenceSet) -> Alike:
    found: dict[tuple[int, int], set[int]] = {}
    for earlier, later in lookalikes.patients(cases):
        found.setdefault((int(cases.split[earlier]), int(cases.split[later])), set()).add(later)
    yield from ((*parts, rows) for parts, rows in sorted(found.items()))


def _equal(cases: MoleculeSet, environments: Sequence[bytes]) -> Alike:
    for one, other in combinations(range(len(PARTS)), 2):
        known = {environments[row] for row in cases.part(one)}
        yield one, other, [row for row in cases.part(other) if environments[row] in known]


def gradients(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, D) the differences between neighbouring pixels, of length 1 each: brightness and contrast fall out."""
    if max(images.shape[1:]) > SIDE:
        size, box = (SIDE, SIDE), Pillow.Resampling.BOX
        images = np.stack([np.asarray(Pillow.fromarray(image).resize(size, box)) for image in images])
    pixels = images.astype(np.float32)
    down, across = np.diff(pixels, axis=1), np.diff(pixels, axis=2)
    found = np.concatenate([down.reshape(len(images), -1), across.reshape(len(images), -1)], axis=1)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    # A blank image is like no other.
    scaled: NDArray[np.float32] = np.divide(found, length, out=np.zeros_like(found), where=length > 0)
    return scaled


def nearest(views: NDArray[np.float32], others: NDArray[np.float32], block: int = 512) -> NDArray[np.float32]:
    """(N,) the highest correlation of each of `views` (N, D) with any of `others` (K, D); -1 where there is none."""
    best = np.full(len(views), -1, dtype=np.float32)
    for start in range(0, len(views) if len(others) else 0, block):
        best[start : start + block] = (views[start : start + block] @ others.T).max(axis=1)
    return best
