"""The applicability domain: how near the nearest training molecule is, by the Tanimoto similarity of Morgan bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from rdkit import DataStructs
from rdkit.DataStructs import ExplicitBitVect

from models.screening import features
from models.screening.molecules import Molecule

QUANTILE = 0.05
"""In the domain is who is no farther from the training molecules than 95 % of these are from each other."""


class Domain:
    """The training molecules' bits, and the least similarity that counts as near."""

    def __init__(self, prints: Sequence[ExplicitBitVect], limit: float) -> None:
        self.prints, self.limit = list(prints), limit

    @classmethod
    def fit(cls, molecules: Sequence[Molecule]) -> Self:
        """From the training molecules, each held against all the others."""
        prints = [features.fingerprint(one) for one in molecules]
        nearest = []
        for place, one in enumerate(prints):
            similar = DataStructs.BulkTanimotoSimilarity(one, prints)
            similar[place] = 0.0
            nearest.append(max(similar))
        return cls(prints, round(float(np.quantile(nearest, QUANTILE)), 4))

    @classmethod
    def read(cls, places: NDArray[np.int16], counts: NDArray[np.int16], limit: float) -> Self:
        """From what `arrays` gives."""
        prints, start = [], 0
        for count in counts.tolist():
            one = ExplicitBitVect(features.BITS)
            one.SetBitsFromList(places[start : start + count].tolist())
            prints.append(one)
            start += count
        return cls(prints, limit)

    def arrays(self) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """The places of all bits that are set, molecule after molecule, and how many each has."""
        bits = [list(one.GetOnBits()) for one in self.prints]
        places = np.array([place for one in bits for place in one], dtype=np.int16)
        return places, np.array([len(one) for one in bits], dtype=np.int16)

    def nearest(self, molecules: Sequence[Molecule]) -> NDArray[np.float64]:
        """The similarity of each to its nearest training molecule, 0 to 1, (N,)."""
        found = [max(DataStructs.BulkTanimotoSimilarity(features.fingerprint(one), self.prints)) for one in molecules]
        return np.array(found, dtype=np.float64)
