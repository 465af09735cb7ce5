"""Descriptor alerts by RDKit: columns for a chemist to sort by, never a reason to leave a molecule out."""

from __future__ import annotations

from functools import cache

from rdkit.Chem import rdMolDescriptors
from rdkit.Chem.FilterCatalog import FilterCatalog, FilterCatalogParams

from models.screening.molecules import Molecule


def pains(molecule: Molecule) -> list[str]:
    """Names of the pan-assay interference patterns (Baell and Holloway, J. Med. Chem. 2010) that it has, sorted."""
    return sorted({match.GetDescription() for match in _catalog().GetMatches(molecule.mol)})


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


@cache
def _catalog() -> FilterCatalog:
    chosen = FilterCatalogParams()
    chosen.AddCatalog(FilterCatalogParams.FilterCatalogs.PAINS)
    return FilterCatalog(chosen)
