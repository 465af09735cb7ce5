"""A data set's molecules as a training takes them: read, salts stripped, copies folded, contradictions taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.errors import InputError
from models.data.canonical import TRAIN, VALIDATION, MoleculeSet
from models.screening import outcome as outcomes
from models.screening.molecules import Molecule, from_smiles
from models.screening.outcome import Outcome

Labels = NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """Molecules of one part with their labels (N, T), NaN where unknown, and `rows` (N,) of the data set."""

    molecules: list[Molecule]
    labels: Labels
    rows: NDArray[np.intp]
    too_large: int = 0
    folded: int = 0
    contradicted: int = 0

    def __len__(self) -> int:
        return len(self.molecules)


def read(data: MoleculeSet, which: int) -> Part:
    """A part as it stands, without molecules beyond the limits of screening."""
    rows, molecules = data.part(which), []
    kept = []
    for row in rows.tolist():
        try:
            molecules.append(from_smiles(data.smiles[row]))
            kept.append(row)
        except InputError:
            continue
    places = np.array(kept, dtype=np.intp)
    return Part(molecules, data.labels[places], places, too_large=len(rows) - len(kept))


def fitting(data: MoleculeSet) -> tuple[Part, Part]:
    """Training and validation part, each with every molecule once; the test part is not looked at."""
    what = outcomes.of(data)
    return fold(read(data, TRAIN), what), fold(read(data, VALIDATION), what)


def fold(part: Part, outcome: Outcome) -> Part:
    """Each molecule once, by its canonical SMILES without salts. Where copies disagree on a class, it counts as not
    measured: nobody knows which is right; of numbers the mean is taken. What has no label at all is left out."""
    groups: dict[str, list[int]] = {}
    for place, one in enumerate(part.molecules):
        groups.setdefault(one.canonical, []).append(place)
    merged = [_agreed(part.labels[places], outcome) for places in groups.values()]
    labels = np.array([found for found, _ in merged], dtype=np.float32).reshape(-1, part.labels.shape[1])
    known = ~np.isnan(labels).all(axis=1)
    firsts = np.array([places[0] for places in groups.values()], dtype=np.intp)[known]
    return Part(
        [part.molecules[place] for place in firsts.tolist()],
        labels[known],
        part.rows[firsts],
        part.too_large,
        folded=len(part) - len(groups),
        contradicted=sum(disagree for _, disagree in merged),
    )


def _agreed(labels: Labels, outcome: Outcome) -> tuple[Labels, bool]:
    """One row of labels for some copies, and whether they disagree anywhere."""
    found = np.full(labels.shape[1], np.nan, dtype=np.float32)
    disagree = False
    for column, values in enumerate(labels.T):
        known = np.unique(values[~np.isnan(values)])
        if len(known):
            found[column] = known[0] if len(known) == 1 else outcome.agreed(values[~np.isnan(values)])
        disagree |= len(known) > 1
    return found, disagree


def handling(parts: Sequence[Part]) -> dict[str, int]:
    """What was done with the molecules of the training and validation part, in numbers."""
    return {
        "copies_folded": sum(part.folded for part in parts),
        "molecules_with_contradictory_labels": sum(part.contradicted for part in parts),
        "beyond_limits": sum(part.too_large for part in parts),
        "salts_stripped": sum(one.stripped for part in parts for one in part.molecules),
    }
