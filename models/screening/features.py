"""What the trees read of a molecule: Morgan counts and RDKit descriptors; and the bits that nearness is measured by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors
from rdkit.DataStructs import ExplicitBitVect

from models.screening.molecules import Molecule

Floats = NDArray[np.float32]

RADIUS, BITS = 2, 2048
"""Morgan fingerprints of radius 2 (ECFP4: Rogers and Hahn, J. Chem. Inf. Model. 2010), folded to 2,048 places."""

_MORGAN = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)
_NAMES = [
    name for name in rdMolDescriptors.Properties.GetAvailableProperties() if name not in ("exactmw", "NumHeavyAtoms")
]
_PROPERTIES = rdMolDescriptors.Properties(_NAMES)

DESCRIPTORS = len(_NAMES) + 42 + 14 + 12 + 10
"""The scalar ones, MQN (42), PEOE_VSA (14), SlogP_VSA (12) and SMR_VSA (10)."""

FEATURES = BITS + DESCRIPTORS
"""Counts, then descriptors."""


def fingerprint(molecule: Molecule) -> ExplicitBitVect:
    """The Morgan bits."""
    found: ExplicitBitVect = _MORGAN.GetFingerprint(molecule.mol)
    return found


def bits(molecules: Sequence[Molecule]) -> Floats:
    """(N, 2048) Morgan bits, 0 or 1: plain ECFP."""
    found = np.zeros((len(molecules), BITS), dtype=np.float32)
    for row, one in enumerate(molecules):
        found[row] = _MORGAN.GetFingerprintAsNumPy(one.mol)
    return found


def table(molecules: Sequence[Molecule]) -> Floats:
    """(N, FEATURES), NaN where a descriptor is undefined (a masked atom has no charge)."""
    found = np.zeros((len(molecules), FEATURES), dtype=np.float32)
    for row, one in enumerate(molecules):
        found[row, :BITS] = _MORGAN.GetCountFingerprintAsNumPy(one.mol)
        found[row, BITS:] = descriptors(one)
    found[~np.isfinite(found)] = np.nan
    return found


def descriptors(molecule: Molecule) -> list[float]:
    """The DESCRIPTORS alone, as RDKit gives them."""
    mol = molecule.mol
    return [
        *_PROPERTIES.ComputeProperties(mol),
        *rdMolDescriptors.MQNs_(mol),
        *rdMolDescriptors.PEOE_VSA_(mol),
        *rdMolDescriptors.SlogP_VSA_(mol),
        *rdMolDescriptors.SMR_VSA_(mol),
    ]
