"""A molecule as a graph: arrays of atoms and of directed bonds, and many of them side by side in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem
from torch import Tensor

from models.screening import features
from models.screening.molecules import Molecule

ELEMENTS = (5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53)
HYBRIDS = ("SP", "SP2", "SP3", "SP3D", "SP3D2")
BONDS = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE, Chem.BondType.AROMATIC)

ATOM = len(ELEMENTS) + 1 + 7 + 6 + 6 + 4 + len(HYBRIDS) + 3
"""Element or another, degree, charge, hydrogens, chirality, hybridisation, and: aromatic, in a ring, mass / 100."""

BOND = len(BONDS) + 2 + 4
"""Sort, conjugated, in a ring, and stereo: none, any, E/trans, Z/cis."""


@dataclass(frozen=True)
class Graph:
    """`atoms` (A, ATOM); bond 2k goes from `ends[k, 0]` to `ends[k, 1]` and bond 2k + 1 back; `bonds` (K, BOND);
    `whole` (DESCRIPTORS,) of the molecule, NaN where undefined."""

    atoms: NDArray[np.float32]
    ends: NDArray[np.int64]
    bonds: NDArray[np.float32]
    whole: NDArray[np.float32]


@dataclass(frozen=True)
class GraphBatch:
    """Many graphs: `source`, `target` (E,) atoms of each directed bond; `reverse` of bond e is e ^ 1; `owner` (A,);
    `whole` (B, DESCRIPTORS)."""

    atoms: Tensor
    source: Tensor
    target: Tensor
    bonds: Tensor
    owner: Tensor
    whole: Tensor

    @property
    def count(self) -> int:
        """B, the number of graphs."""
        return len(self.whole)

    def to(self, device: str) -> GraphBatch:
        """The same on a device."""
        return GraphBatch(*(tensor.to(device) for tensor in self.tensors()))

    def tensors(self) -> tuple[Tensor, ...]:
        """What it is made of, in order."""
        return self.atoms, self.source, self.target, self.bonds, self.owner, self.whole


def graph(molecule: Molecule) -> Graph:
    """The graph of a molecule."""
    mol = molecule.mol
    atoms = np.array([_atom(atom) for atom in mol.GetAtoms()], dtype=np.float32)
    ends = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()], dtype=np.int64).reshape(-1, 2)
    bonds = np.array([_bond(bond) for bond in mol.GetBonds()], dtype=np.float32).reshape(-1, BOND)
    whole = np.array(features.descriptors(molecule), dtype=np.float32)
    whole[~np.isfinite(whole)] = np.nan
    return Graph(atoms, ends, bonds, whole)


def batch(graphs: Sequence[Graph]) -> GraphBatch:
    """Graphs side by side."""
    sizes = np.array([len(one.atoms) for one in graphs])
    firsts = np.cumsum(sizes) - sizes
    ends = np.concatenate([one.ends + first for one, first in zip(graphs, firsts, strict=True)])  # (K, 2)
    bonds = np.concatenate([one.bonds for one in graphs])
    return GraphBatch(
        atoms=torch.from_numpy(np.concatenate([one.atoms for one in graphs])),
        source=torch.from_numpy(ends.reshape(-1)),
        target=torch.from_numpy(ends[:, ::-1].reshape(-1).copy()),
        bonds=torch.from_numpy(np.repeat(bonds, 2, axis=0)),
        owner=torch.from_numpy(np.repeat(np.arange(len(graphs)), sizes)),
        whole=torch.from_numpy(np.stack([one.whole for one in graphs])),
    )


def _one_hot(place: int, count: int) -> list[float]:
    """`count` zeros, a one at `place`, which is held within them."""
    found = [0.0] * count
    found[min(max(place, 0), count - 1)] = 1.0
    return found


def _atom(atom: Chem.Atom) -> list[float]:
    number, hybrid = atom.GetAtomicNum(), str(atom.GetHybridization())
    element = ELEMENTS.index(number) if number in ELEMENTS else len(ELEMENTS)
    hybridisation = _one_hot(HYBRIDS.index(hybrid), len(HYBRIDS)) if hybrid in HYBRIDS else [0.0] * len(HYBRIDS)
    return [
        *_one_hot(element, len(ELEMENTS) + 1),
        *_one_hot(atom.GetDegree(), 7),
        *_one_hot(atom.GetFormalCharge() + 2, 6),
        *_one_hot(atom.GetTotalNumHs(), 6),
        *_one_hot(int(atom.GetChiralTag()), 4),
        *hybridisation,
        float(atom.GetIsAromatic()),
        float(atom.IsInRing()),
        atom.GetMass() / 100,
    ]


def _bond(bond: Chem.Bond) -> list[float]:
    sort = bond.GetBondType()
    kind = _one_hot(BONDS.index(sort), len(BONDS)) if sort in BONDS else [0.0] * len(BONDS)
    stereo = {"STEREONONE": 0, "STEREOANY": 1, "STEREOE": 2, "STEREOTRANS": 2, "STEREOZ": 3, "STEREOCIS": 3}
    where = stereo.get(str(bond.GetStereo()), 1)
    return [*kind, float(bond.GetIsConjugated()), float(bond.IsInRing()), *_one_hot(where, 4)]
