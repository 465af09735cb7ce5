"""The molecules format: what RDKit cannot read is left out by row, copies and conflicts are counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jobs.errors import DatasetInvalid
from models.data.canonical import MoleculeSet, fingerprint
from models.data.formats.molecules import read
from models.data.options import MoleculesOptions
from models.data.problems import Notes

TABLE = """smiles,active,toxic
CCO,1,0
OCC,0,
c1ccccc1,0,1
C1CC,1,1
[Na+].[Cl-],1,
"""


def loaded(folder: Path, text: str = TABLE, notes: Notes | None = None, **options: object) -> MoleculeSet:
    (folder / "m.csv").write_text(text)
    return read([folder / "m.csv"], MoleculesOptions(**{"targets": ("active", "toxic"), **options}), notes)


def test_smiles_stay_as_written_and_gaps_stay_gaps(tmp_path: Path) -> None:
    notes = Notes()
    found = loaded(tmp_path, notes=notes)
    assert found.smiles == ("CCO", "OCC", "c1ccccc1", "[Na+].[Cl-]")
    assert np.isnan(found.labels).tolist() == [[False, False], [False, True], [False, False], [False, True]]
    assert notes.facts["unreadable_rows"] == [5]
    assert any("rows 5;" in warning["detail"] for warning in notes.warnings)


def test_one_molecule_written_twice_with_other_labels_is_told(tmp_path: Path) -> None:
    notes = Notes()
    found = loaded(tmp_path, notes=notes)
    assert notes.facts["repeated_molecules"] == {"groups": 1, "conflicting": 1}
    assert found.split[0] == found.split[1], "two spellings of ethanol are in one part"


def test_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    head, *rows = (TABLE + "CCO,0,1\nCCO,1,1\n").splitlines()
    first, other = (loaded(tmp_path, "\n".join([head, *order])) for order in (rows, rows[::-1]))
    assert fingerprint(first) == fingerprint(other)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("CCO,1", "CCO,yes", "not a finite number"),
        ("CCO", "", "empty"),
        ("toxic", "poison", "no column toxic"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(DatasetInvalid) as refused:
        loaded(tmp_path, TABLE.replace(old, new, 1))
    assert words in refused.value.facts["problems"][0]["detail"]


def test_a_table_without_one_readable_molecule_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid, match="none of the SMILES"):
        loaded(tmp_path, "smiles,active,toxic\nC1CC,1,0\n" + "C" * 3000 + ",1,0\n")
