"""One molecule, checked: parsed and sanitised by RDKit, its largest fragment kept, tautomers left as they were written.

RDKit's logger repeats the molecule that it cannot read; it is silenced here, where every screening module that uses
RDKit begins. No error text repeats a molecule either.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from rdkit import Chem, rdBase
from rdkit.Chem.MolStandardize import rdMolStandardize

from jobs.errors import EmptyInput, LimitExceeded, NotAMolecule

rdBase.DisableLog("rdApp.*")

MOST_LETTERS = 2000
"""Of one SMILES, as data sets have it: the parser's time grows faster than the length."""

MOST_ATOMS = 250
"""Heavy atoms of the largest fragment. Drugs have 20 to 50; the largest molecule of the training sets has 132."""

MOST_IN_BLOCK = 4 * MOST_ATOMS
"""Atoms of a mol block, hydrogens and counter-ions included: more are refused by its counts line, before RDKit spends
seconds on them."""

_COUNTS = re.compile(r"^([ \d]{3})[ \d]{3}.*V2000|^M  V30 COUNTS (\d+)", re.MULTILINE)

_CHOOSER = rdMolStandardize.LargestFragmentChooser()


@dataclass(frozen=True)
class Molecule:
    """A molecule ready for every model part. `mol` has its atoms in the order of `canonical`."""

    canonical: str
    mol: Chem.Mol = field(repr=False, compare=False)
    stripped: bool = False
    """Whether smaller fragments (counter-ions, solvents) were left out."""


def from_smiles(text: str) -> Molecule:
    """Read one SMILES. Raises `EmptyInput`, `LimitExceeded` or `NotAMolecule`."""
    text = text.strip()
    if not text:
        raise EmptyInput("The line has no molecule.")
    if len(text) > MOST_LETTERS:
        raise LimitExceeded(f"A SMILES may have {MOST_LETTERS} letters.", limit="smiles_letters")
    return _checked(Chem.MolFromSmiles(text))


def from_block(block: str) -> Molecule:
    """Read one MDL mol block, V2000 or V3000; raises as `from_smiles`."""
    counts = _COUNTS.search(block)
    if counts is not None and int(counts[1] or counts[2]) > MOST_IN_BLOCK:
        raise _too_large()
    return _checked(Chem.MolFromMolBlock(block, sanitize=True, removeHs=True))


def _checked(mol: Chem.Mol | None) -> Molecule:
    if mol is None or mol.GetNumAtoms() == 0:
        raise NotAMolecule()
    fragments = len(Chem.GetMolFrags(mol))
    if mol.GetNumAtoms() > MOST_ATOMS * max(1, fragments):
        raise _too_large()
    if fragments > 1:
        mol = _CHOOSER.choose(mol)
    if mol.GetNumHeavyAtoms() > MOST_ATOMS or mol.GetNumAtoms() > 2 * MOST_ATOMS:
        raise _too_large()
    if any(atom.GetAtomicNum() == 0 for atom in mol.GetAtoms()):
        raise NotAMolecule("An atom is a placeholder (*); send whole molecules.")
    canonical = Chem.MolToSmiles(mol)
    again = Chem.MolFromSmiles(canonical)
    if again is None:
        raise NotAMolecule()
    return Molecule(canonical, again, fragments > 1)


def _too_large() -> LimitExceeded:
    return LimitExceeded(f"A molecule may have {MOST_ATOMS} heavy atoms in its largest fragment.", limit="atoms")
