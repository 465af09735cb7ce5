"""Files of molecules as entries: each line once, whatever it is written in, and every break named."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from rdkit import Chem

from jobs.errors import EmptyInput, InputError, LimitExceeded, NotAMolecule
from models.screening.kind import ScreeningParams
from models.screening.molecules import MOST_ATOMS, from_block, from_smiles
from models.screening.reading import Entry, count, entries
from models.screening.scoring import molecule


def read(folder: Path, content: bytes | str, **params: object) -> list[Entry]:
    path = folder / "m"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(entries(path, ScreeningParams(**params)))  # type: ignore[arg-type]


def codes(found: list[Entry]) -> list[str | None]:
    return [None if one.error is None else one.error.code for one in found]


def test_a_smi_file_is_a_molecule_a_line_with_its_name(tmp_path: Path) -> None:
    found = read(tmp_path, "CCO ethanol\r\nc1ccccc1\tbenzene, pure\n\nCC\n")
    assert [(one.line, one.smiles, one.name) for one in found] == [
        (1, "CCO", "ethanol"), (2, "c1ccccc1", "benzene, pure"), (3, "", ""), (4, "CC", ""),
    ]  # fmt: skip
    assert codes(found) == [None, None, "empty-input", None]


@pytest.mark.parametrize(
    "text", ["id,SMILES\n7,CCO\n", "id;smiles\n7;CCO\n", "id\tmol\n7\tCCO\n", "\ufeffsmiles,name\nCCO,7\n"]
)
def test_a_table_is_known_by_its_header_whatever_parts_its_cells(tmp_path: Path, text: str) -> None:
    (one,) = read(tmp_path, text)
    assert (one.line, one.smiles, one.name) == (2, "CCO", "7")


def test_rows_that_a_quote_stretches_count_as_the_line_they_begin_on(tmp_path: Path) -> None:
    found = read(tmp_path, 'smiles,name\nCCO,"two\nlines"\n\nCC,x\nCCC\n')
    assert [(one.line, one.name) for one in found] == [(2, "two\nlines"), (4, ""), (5, "x"), (6, "")]
    assert codes(found) == [None, "empty-input", None, None]


def test_a_row_without_the_column_is_an_error_of_that_row(tmp_path: Path) -> None:
    assert codes(read(tmp_path, "name,smiles\nx,CCO\ny\n")) == [None, "bad-input"]


def test_a_table_without_the_column_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no column named smiles or .*params\.column"):
        read(tmp_path, "id,compound\n1,CCO\n")
    with pytest.raises(InputError, match="no column named ligand"):
        read(tmp_path, "id,smiles\n1,CCO\n", column="ligand")
    (one,) = read(tmp_path, "id,Compound\n1,CCO\n", column="compound")
    assert one.smiles == "CCO"


def test_lines_of_several_encodings_are_read_each_in_its_own(tmp_path: Path) -> None:
    found = read(tmp_path, "CCO Äthanol\n".encode() + "CC Äthan\n".encode("latin-1"))
    assert [one.name for one in found] == ["Äthanol", "Äthan"]
    (one,) = read(tmp_path, "smiles,name\nCCO,Äthanol\n".encode("utf-16"))
    assert (one.smiles, one.name) == ("CCO", "Äthanol")


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAMolecule, match="no text"):
        read(tmp_path, b"PAR1\0\0\x15\x04")
    with pytest.raises(EmptyInput):
        read(tmp_path, b" \n\n")


def sdf(*smiles: str) -> str:
    records = []
    for number, text in enumerate(smiles):
        mol = Chem.MolFromSmiles(text)
        mol.SetProp("_Name", f"m{number}")
        records.append(Chem.MolToMolBlock(mol) + "> <x>\n1\n\n$$$$\n")
    return "".join(records)


def test_an_sdf_is_a_molecule_a_record_and_a_cut_one_costs_the_last(tmp_path: Path) -> None:
    text = sdf("CCO", "c1ccccc1", "CC(=O)O")
    found = read(tmp_path, text)
    assert [one.name for one in found] == ["m0", "m1", "m2"]
    assert [from_block(one.block or "").canonical for one in found] == ["CCO", "c1ccccc1", "CC(=O)O"]
    assert count(tmp_path / "m") == 3

    cut = read(tmp_path, text[: text.rindex("M  END") - 20])
    assert codes(cut) == [None, None, "truncated-input"]
    whole_block = read(tmp_path, text[: text.rindex("$$$$")])
    assert codes(whole_block) == [None, None, None], "only the closing mark is missing"


def test_a_record_whose_atoms_are_damaged_costs_that_record(tmp_path: Path) -> None:
    text = sdf("CCO", "CCN").replace(" N ", " Qq", 1)
    first, second = (molecule(one) for one in read(tmp_path, text))
    assert not isinstance(first, NotAMolecule)
    assert isinstance(second, NotAMolecule)


def test_salts_are_stripped_and_tautomers_left_alone() -> None:
    salt = from_smiles("CC(C)NCC(O)COc1cccc2ccccc12.[Cl-]")
    assert (salt.canonical, salt.stripped) == ("CC(C)NCC(O)COc1cccc2ccccc12", True)
    assert from_smiles("Oc1ccccn1").canonical != from_smiles("O=c1cccc[nH]1").canonical
    assert from_smiles("OCC").canonical == from_smiles("C(O)C").canonical == "CCO"


@pytest.mark.parametrize("text", ["C1CC", "CC(C", "N(C)(C)(C)(C)C", "hello", "[Xx]", "*CC"])
def test_what_rdkit_cannot_read_is_named_without_being_repeated(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NotAMolecule) as refused:
        from_smiles(text)
    assert text not in refused.value.detail
    assert capfd.readouterr().err == "", "RDKit prints the molecule that it cannot read"


def test_molecules_beyond_the_limits_are_named_by_the_limit() -> None:
    with pytest.raises(LimitExceeded) as letters:
        from_smiles("C" * 5000)
    assert letters.value.facts == {"limit": "smiles_letters"}
    with pytest.raises(LimitExceeded) as atoms:
        from_smiles("C" * (MOST_ATOMS + 1))
    assert atoms.value.facts == {"limit": "atoms"}
    assert from_smiles("C" * MOST_ATOMS).mol.GetNumAtoms() == MOST_ATOMS


def test_a_mol_block_of_5000_atoms_is_refused_by_its_counts_before_it_is_parsed() -> None:
    atoms = "".join(f"M  V30 {n} C {n} 0 0 0\n" for n in range(1, 5001))
    bonds = "".join(f"M  V30 {n} 1 {n} {n + 1}\n" for n in range(1, 5000))
    head = "\n\n\n  0  0  0     0  0            999 V3000\nM  V30 BEGIN CTAB\nM  V30 COUNTS 5000 4999 0 0 0\n"
    tables = f"M  V30 BEGIN ATOM\n{atoms}M  V30 END ATOM\nM  V30 BEGIN BOND\n{bonds}M  V30 END BOND\n"
    began = time.monotonic()
    with pytest.raises(LimitExceeded) as refused:
        from_block(f"{head}{tables}M  V30 END CTAB\nM  END\n")
    assert refused.value.facts == {"limit": "atoms"}
    assert time.monotonic() - began < 0.5
