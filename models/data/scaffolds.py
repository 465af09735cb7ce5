"""Splitting molecules by their Bemis-Murcko scaffold: what is tested has frames that the training did not see.

As MoleculeNet and DeepChem split (Wu et al., Chem. Sci. 2018): scaffolds in order of falling size fill the training
part to 80 %, then validation to 90 %, and the rest, the rare scaffolds, is the test part. Scaffolds of equal size stand
in the order in which the file first names them, the last one first, so that figures can be held beside published ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem.Scaffolds import MurckoScaffold

from models.data.canonical import TEST, TRAIN, VALIDATION

_MURCKO: Any = MurckoScaffold
"""RDKit does not say its types here."""

TRAIN_SHARE, SEEN_SHARE = 0.8, 0.9


def scaffold(smiles: str) -> str:
    """The Bemis-Murcko scaffold (J. Med. Chem. 1996) without stereo, as SMILES; empty for a molecule without rings."""
    molecule = Chem.MolFromSmiles(smiles)
    return str(Chem.MolToSmiles(_MURCKO.GetScaffoldForMol(molecule), isomericSmiles=False))


def parts(smiles: Sequence[str]) -> NDArray[np.uint8]:
    """(N,) the part of each molecule; every SMILES must be one that RDKit can read. The same order, the same parts."""
    groups: dict[str, list[int]] = {}
    with rdBase.BlockLogs():  # What RDKit prints repeats the molecule.
        for place, text in enumerate(smiles):
            groups.setdefault(scaffold(text), []).append(place)
    split = np.full(len(smiles), TEST, dtype=np.uint8)
    trained, validated = 0, 0
    train, seen = TRAIN_SHARE * len(smiles), SEEN_SHARE * len(smiles)
    for rows in sorted(groups.values(), key=lambda rows: (len(rows), rows[0]), reverse=True):
        if trained + len(rows) <= train:
            split[rows] = TRAIN
            trained += len(rows)
        elif trained + validated + len(rows) <= seen:
            split[rows] = VALIDATION
            validated += len(rows)
    return split
