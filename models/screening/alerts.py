"""Descriptor alerts by RDKit: columns for a chemist to sort by, never a reason to leave a molecule out."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, DataStructs, RDConfig
from rdkit.Chem import rdMolDescriptors
from rdkit.Chem.FilterCatalog import FilterCatalog, FilterCatalogParams

from models.screening.molecules import Molecule

BITS = 2048


class Pattern(NamedTuple):
    """An entry of RDKit's catalogue."""

    name: str
    entry: Any


def pains(molecule: Molecule) -> list[str]:
    """Names of the pan-assay interference patterns (Baell and Holloway, J. Med. Chem. 2010) that it has, sorted.

    Asked are only those of the 480 whose pattern fingerprint the molecule's contains: some 20. Those fingerprints are
    RDKit's screen for substructure search: what matches is never left out.
    """
    patterns, prints = _catalogue()
    open_ = np.flatnonzero(~(prints & ~_print(molecule.mol)).any(axis=1)).tolist()
    return sorted({patterns[place].name for place in open_ if patterns[place].entry.HasFilterMatch(molecule.mol)})


def lipinski_violations(molecule: Molecule) -> int:
    """How many of Lipinski's rules it breaks (Adv. Drug Deliv. Rev. 1997): mass 500, logP 5, 5 donors, 10 acceptors."""
    mol = molecule.mol
    return sum(
        (
            rdMolDescriptors._CalcMolWt(mol) > 500,
            rdMolDescriptors.CalcCrippenDescriptors(mol)[0] > 5,
            rdMolDescriptors.CalcNumLipinskiHBD(mol) > 5,
            rdMolDescriptors.CalcNumLipinskiHBA(mol) > 10,
        )
    )


def catalog() -> FilterCatalog:
    """RDKit's catalogue as it is."""
    chosen = FilterCatalogParams()
    chosen.AddCatalog(FilterCatalogParams.FilterCatalogs.PAINS)
    return FilterCatalog(chosen)


@cache
def _catalogue() -> tuple[list[Pattern], NDArray[np.uint64]]:
    """The entries, and their fingerprints (480, BITS / 64).

    The catalogue does not give its patterns away; RDKit ships them as a table too. An entry that is not there has an
    empty fingerprint and is asked always.
    """
    whole = catalog()
    entries = [whole.GetEntryWithIdx(place) for place in range(whole.GetNumEntries())]
    path, known = Path(RDConfig.RDDataDir) / "Pains" / "wehi_pains.csv", dict[str, str]()
    if path.is_file():
        with path.open(newline="") as file:
            known = {name.removeprefix("<regId=").removesuffix(">"): smarts for smarts, name in csv.reader(file)}
    patterns = [Pattern(entry.GetDescription(), entry) for entry in entries]
    return patterns, np.stack([_of_smarts(known.get(one.name)) for one in patterns])


def _of_smarts(smarts: str | None) -> NDArray[np.uint64]:
    if smarts is None:
        return np.zeros(BITS // 64, dtype=np.uint64)
    # Hydrogens that stand as atoms in the pattern are counts on their neighbours in the molecules.
    return _print(Chem.MergeQueryHs(Chem.MolFromSmarts(smarts)))


def _print(mol: Chem.Mol) -> NDArray[np.uint64]:
    packed = DataStructs.BitVectToBinaryText(Chem.PatternFingerprint(mol, fpSize=BITS))
    return np.frombuffer(packed, dtype=np.uint8).view(np.uint64)
