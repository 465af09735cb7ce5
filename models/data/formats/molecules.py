"""Molecules as a CSV of SMILES (Weininger, J. Chem. Inf. Comput. Sci. 1988) with one column per target.

SMILES stay as written, salts included; RDKit only says whether it can read them and which of them are one molecule.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from models.data import declared, scaffolds, splitting
from models.data.canonical import MoleculeSet
from models.data.options import MoleculesOptions
from models.data.problems import MOST, Notes, Problems, refuse
from models.data.tables import Table, read_table

MOST_LETTERS = 2000
"""Of one SMILES; a protein of 100 residues has about 2,000, and the parser's time grows faster than its length."""


def read(files: Sequence[Path], options: MoleculesOptions, notes: Notes | None = None) -> MoleculeSet:
    """Read one CSV or Parquet file. Raises `DatasetInvalid`; SMILES that RDKit cannot read are left out and listed."""
    notes, problems = notes or Notes(), Problems()
    if len(files) != 1:
        raise refuse("The format molecules takes one table.")
    table = read_table(files[0], 0)
    table.need([options.smiles, *options.targets, *([] if options.split is None else [options.split])])
    smiles = table.texts(options.smiles, problems)
    labels = np.column_stack([table.numbers(name, problems, missing=True) for name in options.targets])
    problems.check()
    canonical = _canonical(smiles.to_list())
    good = np.array([text is not None for text in canonical])
    if options.split is None and options.split_by == "scaffold":
        split = np.zeros(len(canonical), dtype=np.uint8)
        split[good] = scaffolds.parts([text for text in canonical if text is not None])
    else:
        split = declared.parts(table, options.split, [text or "" for text in canonical], problems)
    problems.check()
    _tell(table, good, notes)
    if not good.any():
        raise refuse("RDKit can read none of the SMILES.", file=0, column=options.smiles)
    kept = [text for text in canonical if text is not None]
    labels, split = labels[good].astype(np.float32), split[good]
    _tell_copies(kept, labels, notes)
    written = tuple(text for text, fine in zip(smiles.to_list(), good, strict=True) if fine)
    keys = splitting.unique_keys([text.encode() for text in written], split, *labels.T)
    return MoleculeSet(
        split=split, key=keys, smiles=written, labels=labels, targets=options.targets,
        numbers=options.values == "numbers", units=tuple(options.units.get(name, "") for name in options.targets),
    )  # fmt: skip


def _canonical(smiles: Sequence[str]) -> list[str | None]:
    """RDKit's canonical SMILES of each, None where it cannot read it."""
    found: list[str | None] = []
    with rdBase.BlockLogs():  # What RDKit prints repeats the molecule.
        for text in smiles:
            molecule = Chem.MolFromSmiles(text) if len(text) <= MOST_LETTERS else None
            usable = molecule is not None and molecule.GetNumAtoms() > 0
            found.append(Chem.MolToSmiles(molecule) if usable else None)
    return found


def _tell(table: Table, good: NDArray[np.bool_], notes: Notes) -> None:
    bad = table.rows[~good].tolist()
    rows = ", ".join(map(str, bad[:MOST])) + (" and more" if len(bad) > MOST else "")
    notes.facts["unreadable_rows"] = bad[:MOST]
    notes.warn("reading", f"RDKit cannot read the SMILES of rows {rows}; they were left out.", len(bad))


def _tell_copies(canonical: Sequence[str], labels: NDArray[np.float32], notes: Notes) -> None:
    """Count molecules that stand there more than once, and those of them whose labels disagree."""
    groups: dict[str, list[int]] = {}
    for place, text in enumerate(canonical):
        groups.setdefault(text, []).append(place)
    copies = [rows for rows in groups.values() if len(rows) > 1]
    conflicting = 0
    for rows in copies:
        known = [column[~np.isnan(column)] for column in labels[rows].T]
        conflicting += any(len(column) > 1 and column.min() != column.max() for column in known)
    notes.facts["repeated_molecules"] = {"groups": len(copies), "conflicting": conflicting}
    notes.warn("duplicates", "Molecules stand there more than once (same canonical SMILES).", len(copies))
    notes.warn("duplicates", "Molecules that stand there more than once have labels that disagree.", conflicting)
