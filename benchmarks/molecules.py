"""Many SMILES: the real molecules of the sets at hand and analogues of them, or made-up ones in any number."""

from __future__ import annotations

import csv
import lzma
from collections.abc import Iterator
from pathlib import Path

from rdkit import Chem

from jobs.errors import InputError
from models.screening.molecules import Molecule, from_smiles

FILES = {
    "BBBP.csv": "smiles", "bace.csv": "mol", "tox21.csv": "smiles", "delaney-processed.csv": "smiles",
    "HIV.csv.xz": "smiles",
}  # fmt: skip

RINGS = ("c1ccccc1", "c1ccncc1", "C1CCNCC1", "c1ccsc1", "C1CCCCC1", "c1ccc2[nH]ccc2c1", "C1COCCN1", "c1cncnc1")
LINKS = ("C", "CC", "C(=O)N", "OC", "NC(=O)", "S(=O)(=O)N", "CN", "CCC", "C(=O)", "OCC")
HEADS = ("F", "Cl", "Br", "I", "O", "N", "N#C", "S", "FC(F)(F)", "OC(=O)")


def real(folder: Path) -> Iterator[str]:
    """Every molecule of the sets in `folder` that RDKit can read, each once, then analogues of the same molecules, each
    another again: one aromatic hydrogen replaced by fluorine, and where all have been through that, by chlorine."""
    seen: dict[str, None] = {}
    for file, column in FILES.items():
        path = folder / file
        with lzma.open(path, "rt") if path.suffix == ".xz" else path.open() as opened:
            for row in csv.DictReader(opened):
                found = _read(row.get(column) or "")
                if found is not None and found.canonical not in seen:
                    seen[found.canonical] = None
                    yield found.canonical
    parents = list(seen)
    for element in (9, 17):
        for text in parents:
            made = _read(_analogue(text, element))
            if made is not None and made.canonical not in seen:
                seen[made.canonical] = None
                yield made.canonical


def _read(text: str) -> Molecule | None:
    try:
        return from_smiles(text)
    except InputError:
        return None


def _analogue(text: str, element: int) -> str:
    """The molecule with the element on its first aromatic carbon that has a hydrogen; empty where there is none."""
    mol = Chem.RWMol(Chem.MolFromSmiles(text))
    free = (one for one in mol.GetAtoms() if one.GetIsAromatic() and one.GetAtomicNum() == 6 and one.GetTotalNumHs())
    place = next(free, None)
    if place is None:
        return ""
    mol.AddBond(place.GetIdx(), mol.AddAtom(Chem.Atom(element)), Chem.BondType.SINGLE)
    return str(Chem.MolToSmiles(mol))


def made_up(count: int) -> Iterator[str]:
    """SMILES of drug-like size, up to 1,024,000 different ones: a head, a chain, two rings and what links them."""
    for n in range(count):
        ring, link, other, head = RINGS[n % 8], LINKS[n // 8 % 10], RINGS[n // 80 % 8], HEADS[n // 640 % 10]
        yield f"{head}{link}N{'C' * (n // 6400 % 16)}{ring}{LINKS[n // 102_400 % 10]}{other}"
