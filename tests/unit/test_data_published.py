"""PhysioNet 2012 and PBC2 in small: what a row means, what is dropped, and what is refused without telling a value."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jobs.errors import DatasetInvalid
from models.data.canonical import SequenceSet
from models.data.formats import pbc2, physionet2012
from models.data.options import Pbc2Options, Physionet2012Options
from models.data.problems import Notes

STAY = """Time,Parameter,Value
00:00,RecordID,{id}
00:00,Age,54
00:00,Gender,0
00:00,Height,-1
00:00,ICUType,4
00:00,Weight,80.5
01:30,HR,73
00:30,pH,7.35
01:00,pH,735
02:00,Temp,-17.8
"""
OUTCOMES = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n1001,6,1,5,-1,0\n1002,9,2,4,3,1\n"
PBC = """"id","years","status","drug","age","sex","year","ascites","hepatomegaly","spiders","edema","serBilir",\
"serChol","albumin","alkaline","SGOT","platelets","prothrombin","histologic","status2"
"1",1.5,"dead","D-penicil",58.7,"female",0,"Yes","No",NA,"No edema",14.5,NA,2.6,1718,138,190,12.2,4,1
"2",9.5,"transplanted","placebo",41.2,"male",0,"No","No","No","edema no diuretics",1.1,302,4.1,700,90,221,10.6,3,0
"2",9.5,"transplanted","placebo",41.2,"male",0.5,"No","No","No","No edema",0.8,NA,4.0,690,88,183,11,3,0
"""


def archive(path: Path, members: dict[str, str]) -> Path:
    with tarfile.open(path, "w:xz") as tar:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return path


def stays(
    folder: Path, members: dict[str, str] | None = None, outcomes: str = OUTCOMES, notes: Notes | None = None
) -> SequenceSet:
    given = members or {f"set-a/{one}.txt": STAY.format(id=one) for one in (1001, 1002)}
    (folder / "outcomes.txt").write_text(outcomes)
    files = [archive(folder / "set.tar.xz", given), folder / "outcomes.txt"]
    return physionet2012.read(files, Physionet2012Options(), notes)


def test_a_stay_is_read_as_it_is_written(tmp_path: Path) -> None:
    found = stays(tmp_path)
    assert found.statics == ("Age", "Gender", "Height", "ICUType")
    assert found.static[0].tolist()[:2] == [54, 0]
    assert np.isnan(found.static[0, 2])
    own = slice(found.starts[0], found.starts[1])
    names = [found.variables[code] for code in found.variable[own]]
    assert names == ["Weight", "pH", "HR"]
    assert found.time[own].tolist() == [0, 0.5, 1.5]
    assert found.value[own].tolist() == pytest.approx([80.5, 7.35, 73])
    assert found.label is not None
    assert found.label.tolist() == [0, 1]
    assert found.group_names["Sex"][found.groups["Sex"][0]] == "female"
    assert found.group_names["ICU"][found.groups["ICU"][0]] == "surgical"


def test_impossible_values_are_dropped_and_counted_by_variable(tmp_path: Path) -> None:
    notes = Notes()
    stays(tmp_path, notes=notes)
    assert notes.facts["dropped"] == {"Temp": 2, "pH": 2}


def test_the_outcome_in_other_words_is_no_input(tmp_path: Path) -> None:
    found = stays(tmp_path)
    assert not {"Survival", "Length_of_stay", "SAPS-I", "SOFA"} & {*found.variables, *found.statics}


def test_stays_without_a_series_are_kept_and_counted(tmp_path: Path) -> None:
    notes = Notes()
    silent = "\n".join(STAY.format(id=1002).splitlines()[:6]) + "\n00:00,Weight,-1\n"
    found = stays(tmp_path, {"a/1001.txt": STAY.format(id=1001), "a/1002.txt": silent}, notes=notes)
    assert len(found) == 2
    assert [w["count"] for w in notes.warnings if "no series" in w["detail"]] == [1]


def test_a_zip_holds_the_same_stays(tmp_path: Path) -> None:
    tarred = stays(tmp_path)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        for one in (1001, 1002):
            packed.writestr(f"set-a/{one}.txt", STAY.format(id=one))
    zipped = physionet2012.read([tmp_path / "set.zip", tmp_path / "outcomes.txt"], Physionet2012Options())
    assert zipped.value.tolist() == tarred.value.tolist()


@pytest.mark.parametrize(
    ("members", "outcomes", "words"),
    [
        ({"1.txt": STAY.format(id=1001) + "25:0,HR,80\n"}, OUTCOMES, "row is not HH:MM"),
        ({"1.txt": STAY.format(id=1001) + "03:00,Secret,80\n"}, OUTCOMES, "row is not HH:MM"),
        ({"1.txt": STAY.format(id=1001) + "03:00,HR,inf\n"}, OUTCOMES, "row is not HH:MM"),
        ({"1.txt": "x,y\n1,2\n"}, OUTCOMES, "does not begin with"),
        ({"1.txt": STAY.format(id=7777)}, OUTCOMES, "has no outcome"),
        ({"../1.txt": STAY.format(id=1001)}, OUTCOMES, "leads upwards"),
        ({"/etc/1.txt": STAY.format(id=1001)}, OUTCOMES, "absolute"),
        ({"1.txt": STAY.format(id=1001) * 40_000}, OUTCOMES, "more bytes than are allowed"),
        ({}, OUTCOMES.replace("5,-1,0", "5,-1,"), "cell is empty"),
        ({}, OUTCOMES.replace("5,-1,0", "5,-1,2"), "not 0 or 1"),
        ({}, OUTCOMES.replace("1002", "1001"), "two outcomes"),
        ({}, OUTCOMES.replace("In-hospital_death", "Death"), "no column In-hospital_death"),
    ],
)
def test_what_is_wrong_with_stays_is_named(tmp_path: Path, members: dict[str, str], outcomes: str, words: str) -> None:
    with pytest.raises(DatasetInvalid) as refused:
        stays(tmp_path, members, outcomes)
    said = str(refused.value.facts["problems"])
    assert words in said or any(words in one["detail"] for one in refused.value.facts["problems"])
    assert not any(secret in said for secret in ("1001", "7777", "Secret", "73"))


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "o.txt").write_text(OUTCOMES)
    (tmp_path / "a.tar.xz").write_bytes(b"\xfd7zXZ\x00 and then nothing")
    with pytest.raises(DatasetInvalid, match="neither tar"):
        physionet2012.read([tmp_path / "a.tar.xz", tmp_path / "o.txt"], Physionet2012Options())


def visits(folder: Path, text: str, notes: Notes | None = None) -> SequenceSet:
    (folder / "pbc2.csv").write_text(text)
    return pbc2.read([folder / "pbc2.csv"], Pbc2Options(), notes)


def test_visits_become_observations_and_transplanted_is_censored(tmp_path: Path) -> None:
    notes = Notes()
    found = visits(tmp_path, PBC, notes)
    assert found.duration is not None
    assert found.event is not None
    assert found.duration.tolist() == pytest.approx([1.5, 9.5])
    assert found.event.tolist() == [1, 0]
    assert notes.facts["transplanted"] == 1
    bilirubin = found.variable == found.variables.index("serBilir")
    assert found.time[bilirubin].tolist() == [0, 0, 0.5]
    assert found.value[bilirubin].tolist() == pytest.approx([14.5, 1.1, 0.8])
    assert found.static.tolist() == pytest.approx(np.array([[58.7, 1, 1], [41.2, 0, 0]]))
    assert notes.facts["missing_by_visit"]["serChol"] == pytest.approx(2 / 3, abs=1e-4)
    assert not {"years", "status", "status2"} & {*found.variables, *found.statics}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"2",9.5,"transplanted","placebo",41.2,"male",0.5', '"2",9.9,"alive","placebo",41.2,"male",0.5', "differ"),
        ("58.7", "-58.7", "below 0"),
        ('"female",0,', '"female",-1,', "below 0"),
        ('"female"', '"other"', "none of: male, female"),
        ("12.2,4,1", "12.2,4,NA", "empty"),
        ("14.5", "14;5", "not a finite number"),
        ('"years"', '"jahre"', "no column years"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_visits_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in PBC
    with pytest.raises(DatasetInvalid) as refused:
        visits(tmp_path, PBC.replace(old, new, 1))
    problems = refused.value.facts["problems"]
    assert any(words in one["detail"] for one in problems)
    assert all("row" in one or "column" in one for one in problems)
