"""The input contract: what is refused, by which tag, and what is never repeated."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from imaging.header import Header, read_header
from jobs.errors import ContractMismatch
from models.diagnosis.contract import PNG_NOTE, check, mismatch
from tests.diagnosis_model import CONTRACT, dicom


@pytest.fixture
def header(tmp_path: Path) -> Header:
    return read_header(dicom(tmp_path, 0))


def test_an_image_that_keeps_the_contract_passes_without_a_note(header: Header) -> None:
    assert check(header, CONTRACT) == ()


def test_another_modality_is_named_with_what_would_be_accepted(header: Header) -> None:
    with pytest.raises(ContractMismatch) as refused:
        check(replace(header, modality="CT"), CONTRACT)
    facts = refused.value.as_dict(item=3)
    assert facts["code"] == "input-contract"
    assert facts["tag"] == "(0008,0060) Modality"
    assert (facts["seen"], facts["accepted"], facts["item"]) == ("CT", "CR, OT", 3)


def test_a_modality_outside_the_standards_list_is_not_repeated(header: Header) -> None:
    with pytest.raises(ContractMismatch) as refused:
        check(replace(header, modality="DOE JOHN"), CONTRACT)
    assert "DOE" not in str(refused.value.as_dict())
    assert refused.value.facts["seen"] == "not a defined term"


def test_a_missing_modality_is_said_to_be_empty(header: Header) -> None:
    assert mismatch(replace(header, modality=""), CONTRACT) == ("(0008,0060) Modality", "empty", "CR, OT")


@pytest.mark.parametrize(
    ("change", "tag", "seen", "accepted"),
    [
        (
            {"photometric_interpretation": "RGB"},
            "(0028,0004) PhotometricInterpretation",
            "RGB",
            "MONOCHROME1, MONOCHROME2",
        ),
        ({"rows": 27}, "(0028,0010) Rows", "27", "28 or more"),
        ({"columns": 5}, "(0028,0011) Columns", "5", "28 or more"),
        ({"number_of_frames": 4}, "(0028,0008) NumberOfFrames", "4", "1 to 3"),
    ],
)  # fmt: skip
def test_each_other_clause_names_its_tag(header: Header, change: dict, tag: str, seen: str, accepted: str) -> None:
    assert mismatch(replace(header, **change), CONTRACT) == (tag, seen, accepted)


def test_a_png_is_taken_with_a_note_or_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("L", (40, 40)).save(out, "PNG")
    header = read_header(out.getvalue())
    assert check(header, CONTRACT) == (PNG_NOTE,)
    with pytest.raises(ContractMismatch, match="file format is PNG; this model accepts DICOM"):
        check(header, {**CONTRACT, "png": False})
