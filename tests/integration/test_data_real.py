"""Real data sets through the readers and guards: their known oddities and their known figures are found."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from jobs.errors import DatasetInvalid
from jobs.predicting import Source
from models.data import lookalikes, validating
from models.data.canonical import SequenceSet, fingerprint, load
from models.data.formats import images, pbc2, physionet2012
from models.data.kind import DatasetItem, DatasetParams
from models.data.options import ImagesOptions, Pbc2Options, Physionet2012Options
from models.data.predictor import load as predictor
from models.data.problems import Notes


def validated(test_data: Path, form: str, names: list[str], options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return validating.validate(form, options or {}, [test_data / name for name in names]).item


def told(item: dict[str, Any], guard: str) -> dict[str, int]:
    return {one["detail"]: one["count"] for one in item["warnings"] if one["guard"] == guard}


def test_the_copies_of_pneumoniamnist_are_found(test_data: Path) -> None:
    item = validated(test_data, "medmnist", ["imaging/pneumoniamnist.npz"], {"classes": ["normal", "pneumonia"]})
    assert item["counts"] == {"train": 4708, "validation": 524, "test": 624}
    assert item["classes"]["test"] == {"normal": 234, "pneumonia": 390}
    assert told(item, "duplicates") == {
        "The same cases stand in train and in validation.": 8,
        "Cases of train are exact copies of another case of train.": 18,
        "Cases of test are exact copies of another case of test.": 3,
    }


def test_breastmnist_shares_lesions_between_its_parts(test_data: Path) -> None:
    item = validated(test_data, "medmnist", ["imaging/breastmnist.npz"])
    copies = told(item, "duplicates")
    assert copies["The same cases stand in train and in test."] == 1
    near = [count for words, count in copies.items() if words.startswith("Cases of test nearly equal one of train")]
    assert near == [42]


@pytest.fixture(scope="module")
def stays(request: pytest.FixtureRequest) -> SequenceSet:
    folder = request.getfixturevalue("test_data") / "sequences"
    files = [folder / "physionet2012-set-a.tar.xz", folder / "physionet2012-outcomes-a.txt"]
    return physionet2012.read(files, Physionet2012Options())


def test_physionet_2012_has_its_known_size_and_deaths(stays: SequenceSet) -> None:
    assert (len(stays), len(stays.variables), len(stays.statics)) == (4000, 37, 4)
    assert stays.label is not None
    assert stays.label.sum() == 554
    assert np.bincount(stays.fold).min() > 700
    assert stays.time.max() <= 48
    temperature = stays.value[stays.variable == stays.variables.index("Temp")]
    assert (temperature.min() >= 25, temperature.max() <= 45) == (True, True)
    assert (np.diff(stays.starts) == 0).sum() == 3


def test_survival_and_length_of_stay_are_found_when_they_are_given_as_inputs(
    test_data: Path, stays: SequenceSet, tmp_path: Path
) -> None:
    outcomes = pl.read_csv(test_data / "sequences" / "physionet2012-outcomes-a.txt").rename({"RecordID": "id"})
    outcomes.write_csv(tmp_path / "subjects.csv")
    ids = outcomes["id"].to_list()
    pl.DataFrame({"id": ids, "time": 0.0, "variable": "HR", "value": np.arange(len(ids)) % 40 + 60.0}).write_csv(
        tmp_path / "observations.csv"
    )
    options = {"outcome": {"kind": "binary", "column": "In-hospital_death"}}
    files = [tmp_path / "observations.csv", tmp_path / "subjects.csv"]
    item = validating.validate("sequences", options, files).item
    (named,), (leak,) = told(item, "outcome-input"), told(item, "leak")
    assert "Survival" in named
    assert "Length_of_stay" in named
    assert "Survival (0.9" in leak
    assert "SOFA" not in leak


def test_pbc2_is_read_and_its_years_are_found_when_they_are_given_as_an_input(test_data: Path, tmp_path: Path) -> None:
    path = test_data / "sequences" / "pbc2.csv"
    found = pbc2.read([path], Pbc2Options())
    assert found.event is not None
    assert (len(found), int(found.event.sum())) == (312, 140)
    item = validated(test_data, "pbc2", ["sequences/pbc2.csv"])
    assert (item["facts"]["visits"], item["facts"]["transplanted"]) == (1945, 29)
    assert item["facts"]["missing_by_visit"]["serChol"] == pytest.approx(0.42, abs=0.005)
    assert told(item, "leak") == told(item, "outcome-input") == {}
    table = pl.read_csv(path, null_values="NA")
    table.select("id", time="year", variable=pl.lit("serBilir"), value="serBilir").write_csv(tmp_path / "o.csv")
    table.group_by("id").agg(pl.col("years", "status2", "age").first()).with_columns(t="years").write_csv(
        tmp_path / "s.csv"
    )
    options = {"unit": "years", "outcome": {"kind": "survival", "duration": "t", "event": "status2"}}
    leaking = validating.validate("sequences", options, [tmp_path / "o.csv", tmp_path / "s.csv"]).item
    assert [words for words in told(leaking, "outcome-input") if "years" in words]
    assert [words for words in told(leaking, "leak") if "years (1.000)" in words]


def test_no_two_patients_of_the_real_sets_are_alike_and_a_rounded_copy_is(stays: SequenceSet, test_data: Path) -> None:
    for cases in (stays, pbc2.read([test_data / "sequences" / "pbc2.csv"], Pbc2Options())):
        assert not list(lookalikes.patients(cases))
        # Given the patient of the training part with the most values once more in the test part, rounded
        lengths = np.where(cases.split == 0, np.diff(cases.starts), 0)
        most = int(lengths.argmax())
        doubled = cases.take(np.append(np.arange(len(cases)), most))
        split, value, copied = doubled.split.copy(), doubled.value.copy(), doubled.subject == len(cases)
        split[-1], value[copied] = 2, value[copied].round(1)
        assert list(lookalikes.patients(replace(doubled, split=split, value=value))) == [(most, len(cases))]


@pytest.mark.parametrize(
    ("name", "options", "unreadable", "copies"),
    [
        ("BBBP.csv", {"targets": ["BBBP"]}, 11, {"groups": 60, "conflicting": 10}),
        ("tox21.csv", {"targets": ["NR-AR", "SR-p53"]}, 8, {"groups": 0, "conflicting": 0}),
        ("bace.csv", {"smiles": "mol", "targets": ["Class"]}, 0, {"groups": 0, "conflicting": 0}),
        ("delaney-processed.csv", {"targets": ["measured log solubility in mols per litre"]}, 0, None),
    ],
)
def test_molecules_have_their_known_oddities(
    test_data: Path, name: str, options: dict[str, Any], unreadable: int, copies: dict[str, int] | None
) -> None:
    item = validated(test_data, "molecules", [f"molecules/{name}"], options)
    assert len(item["facts"]["unreadable_rows"]) == unreadable
    assert copies in (None, item["facts"]["repeated_molecules"])


def test_a_real_set_goes_through_the_child_and_comes_back_whole(test_data: Path, tmp_path: Path) -> None:
    work = predictor(None, "cpu")
    source = Source((test_data / "sequences" / "pbc2.csv",))
    encoded = work.encode(work.decode(source, DatasetParams(format="pbc2")), None, 0)
    item = DatasetItem.model_validate(encoded.item)
    for file in encoded.artifacts:
        (tmp_path / file.name).write_bytes(file.content)
    assert fingerprint(load(tmp_path)) == item.fingerprint
    assert {file.name for file in encoded.artifacts} >= {"missing.svg", "ages.svg", "lengths.svg", "parts.svg"}
    assert "| serChol |" in item.card


def test_real_and_malformed_dicom_is_read_or_listed_by_row(test_data: Path, tmp_path: Path) -> None:
    """Given a zip of everything in the DICOM corpora, then what cannot be read is listed, or left out if so asked."""
    paths = sorted(
        path for path in (test_data / "dicom").rglob("*") if path.is_file() and path.stat().st_size < 1 << 20
    )
    rows = ["path,label"]
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for number, path in enumerate(paths):
            packed.write(path, f"{number}.dcm")
            rows.append(f"{number}.dcm,{'ab'[number % 2]}")
        packed.writestr("labels.csv", "\n".join(rows))
    with pytest.raises(DatasetInvalid) as refused:
        images.read([tmp_path / "set.zip"], ImagesOptions())
    assert refused.value.facts["problem_count"] > len(refused.value.facts["problems"]) == 50
    assert all(one["row"] >= 2 and one["column"] == "path" for one in refused.value.facts["problems"])
    notes = Notes()
    found = images.read([tmp_path / "set.zip"], ImagesOptions(skip_bad=True), notes)
    left_out = [one["count"] for one in notes.warnings if "could not be read" in one["detail"]]
    assert len(found) + left_out[0] == len(paths)
    assert len(found) > 100
    assert {"CT", "MR"} <= set(found.modalities)
