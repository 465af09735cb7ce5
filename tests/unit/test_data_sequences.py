"""The sequences format: two tables in, and what is wrong with them out by row and column, without a value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from jobs.errors import DatasetInvalid
from models.data.canonical import SequenceSet, fingerprint
from models.data.formats.sequences import read
from models.data.options import SequencesOptions
from models.data.problems import Notes
from models.data.tables import read_table

OBSERVATIONS = """id,time,variable,value
anna,0,HR,80
anna,2.5,HR,90
anna,1,Temp,36.6
bert,0,HR,70
cleo,3,Temp,38.5
"""
SUBJECTS = """id,age,sex,outcome
anna,54,F,0
bert,61,M,1
cleo,47,F,0
"""
SURVIVAL = "id,age,t,seen,split\nanna,54,1.5,1,train\nbert,61,9,0,Val\ncleo,47,4,1,test\n"
NAMES = ("anna", "bert", "cleo")


def loaded(
    folder: Path,
    observations: str = OBSERVATIONS,
    subjects: str = SUBJECTS,
    notes: Notes | None = None,
    **options: object,
) -> SequenceSet:
    (folder / "o.csv").write_text(observations, newline="")
    (folder / "s.csv").write_text(subjects, newline="")
    chosen = SequencesOptions(**{"groups": ("sex",), **options})
    return read([folder / "o.csv", folder / "s.csv"], chosen, notes)


def problems(folder: Path, observations: str = OBSERVATIONS, subjects: str = SUBJECTS, **options: object) -> list[dict]:
    with pytest.raises(DatasetInvalid) as refused:
        loaded(folder, observations, subjects, **options)
    found = refused.value.facts["problems"]
    told = refused.value.detail + str(found)
    assert not any(name in told for name in NAMES), "a patient is named"
    return found


def test_observations_are_sorted_within_their_subject(tmp_path: Path) -> None:
    found = loaded(tmp_path)
    assert found.variables == ("HR", "Temp")
    assert found.subject.tolist() == [0, 0, 0, 1, 2]
    assert found.time.tolist() == [0, 1, 2.5, 0, 3]
    assert found.value.tolist() == pytest.approx([80, 36.6, 90, 70, 38.5])
    assert found.static[:, 0].tolist() == [54, 61, 47]
    assert found.label is not None
    assert found.label.tolist() == [0, 1, 0]
    assert [found.group_names["sex"][code] for code in found.groups["sex"]] == ["F", "M", "F"]


def test_survival_and_a_declared_split(tmp_path: Path) -> None:
    outcome = {"kind": "survival", "duration": "t", "event": "seen"}
    found = loaded(tmp_path, OBSERVATIONS, SURVIVAL, groups=(), outcome=outcome, split="split", unit="years")
    assert found.duration is not None
    assert found.event is not None
    assert found.duration.tolist() == pytest.approx([1.5, 9, 4])
    assert found.event.tolist() == [1, 0, 1]
    assert found.split.tolist() == [0, 1, 2]
    assert (found.statics, found.unit, found.outcome) == (("age",), "years", "seen")


def test_parquet_bom_crlf_and_blank_lines_read_as_the_plain_csv(tmp_path: Path) -> None:
    plain = loaded(tmp_path)
    odd = "\ufeff" + OBSERVATIONS.replace("\n", "\r\n\r\n")
    assert fingerprint(loaded(tmp_path, odd)) == fingerprint(plain)
    for name, text in (("o", OBSERVATIONS), ("s", SUBJECTS)):
        pl.read_csv(text.encode()).write_parquet(tmp_path / f"{name}.parquet")
    options = SequencesOptions(groups=("sex",))
    packed = read([tmp_path / "o.parquet", tmp_path / "s.parquet"], options)
    assert fingerprint(packed) == fingerprint(plain)


def test_rows_in_any_order_are_the_same_set(tmp_path: Path) -> None:
    head, *rows = OBSERVATIONS.splitlines()
    turned = "\n".join([head, *rows[::-1]])
    head, *rows = SUBJECTS.splitlines()
    assert fingerprint(loaded(tmp_path, turned, "\n".join([head, *rows[::-1]]))) == fingerprint(loaded(tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "row", "column", "words"),
    [
        ("2.5,HR", "-2.5,HR", 3, "time", "below 0"),
        ("2.5,HR,90", "2.5,Age,-90", 3, "value", "below 0"),
        ("2.5,HR", "inf,HR", 3, "time", "not a finite number"),
        ("2.5,HR", "noon,HR", 3, "time", "not a finite number"),
        ("2.5,HR", ",HR", 3, "time", "empty"),
        ("HR,90", "HR,NaN", 3, "value", "empty"),
        ("HR,90", ",90", 3, "variable", "empty"),
        ("bert,0", "anders,0", 5, "id", "not in the subjects' table"),
        ("id,time", "id,when", None, "time", "no column time"),
        ("variable,value", "variable,value,note", None, "note", "Nothing was said about this column"),
    ],
)
def test_a_bad_observation_is_named_by_row_and_column(
    tmp_path: Path, old: str, new: str, row: int | None, column: str, words: str
) -> None:
    assert old in OBSERVATIONS
    (found,) = problems(tmp_path, OBSERVATIONS.replace(old, new, 1))
    assert words in found["detail"]
    assert (found["file"], found.get("row"), found["column"]) == (0, row, column)


@pytest.mark.parametrize(
    ("old", "new", "row", "column", "words"),
    [
        ("61,M,1", "61,M,", 3, "outcome", "empty"),
        ("61,M,1", "61,M,2", 3, "outcome", "not 0 or 1"),
        ("61,M,1", "-61,M,1", 3, "age", "below 0"),
        ("bert,61", "anna,61", 2, "id", "two rows"),
        ("bert,61", ",61", 3, "id", "empty"),
        ("61,M", "old,M", 3, "age", "not a finite number"),
        ("sex", "gender", None, "sex", "no column sex"),
    ],
)
def test_a_bad_subject_is_named_by_row_and_column(
    tmp_path: Path, old: str, new: str, row: int | None, column: str, words: str
) -> None:
    found = problems(tmp_path, subjects=SUBJECTS.replace(old, new, 1))[0]
    assert words in found["detail"]
    assert (found["file"], found.get("row"), found["column"]) == (1, row, column)


def test_a_negative_duration_is_named_by_row_and_column(tmp_path: Path) -> None:
    outcome = {"kind": "survival", "duration": "t", "event": "seen"}
    (found,) = problems(tmp_path, subjects=SURVIVAL.replace("61,9", "61,-9"), groups=(), outcome=outcome, split="split")
    assert (found["file"], found["row"], found["column"]) == (1, 3, "t")
    assert "below 0" in found["detail"]


def test_the_row_of_a_problem_counts_blank_lines_as_an_editor_does(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, OBSERVATIONS.replace("anna,2.5", "\nanna,-2.5"))
    assert found["row"] == 4


def test_of_many_problems_fifty_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid, match="120 problems; the first 50") as refused:
        loaded(tmp_path, OBSERVATIONS + "anna,x,HR,80\n" * 120)
    assert len(refused.value.facts["problems"]) == 50
    assert refused.value.facts["problem_count"] == 120


def test_a_patient_with_two_stays_must_not_stand_in_two_parts(tmp_path: Path) -> None:
    subjects = "id,person,outcome,split\nanna,p1,0,train\nbert,p1,1,test\ncleo,p2,0,train\n"
    found = problems(tmp_path, subjects=subjects, groups=(), patient="person", split="split")
    assert [(one["row"], one["column"]) for one in found] == [(3, "person")]
    assert "another part" in found[0]["detail"]
    drawn = loaded(tmp_path, subjects=subjects, groups=(), patient="person", exclude=("split",))
    assert drawn.split[0] == drawn.split[1]
    assert drawn.fold[0] == drawn.fold[1]


def test_subjects_of_one_patient_share_its_number_and_without_the_column_each_is_a_patient(tmp_path: Path) -> None:
    subjects = "id,person,outcome\nanna,p1,0\nbert,p1,1\ncleo,p2,0\n"
    found = loaded(tmp_path, subjects=subjects, groups=(), patient="person")
    assert found.patients[0] == found.patients[1] != found.patients[2]
    assert not set(found.patients.tolist()) & set(found.key.tolist())
    alone = loaded(tmp_path, subjects=subjects, groups=(), exclude=("person",))
    assert alone.patient is None
    assert alone.patients.tolist() == alone.key.tolist()
    assert fingerprint(alone) != fingerprint(found)
    assert loaded(tmp_path, subjects=subjects, groups=(), patient="id", exclude=("person",)).patients.tolist() == (
        alone.key.tolist()
    )


def test_a_split_of_other_words_is_refused(tmp_path: Path) -> None:
    (found,) = problems(
        tmp_path, subjects=SURVIVAL.replace("Val", "dev"), groups=(), split="split",
        outcome={"kind": "survival", "duration": "t", "event": "seen"},
    )  # fmt: skip
    assert (found["row"], found["column"]) == (3, "split")


def test_two_values_at_one_time_are_kept_with_a_warning(tmp_path: Path) -> None:
    notes = Notes()
    found = loaded(tmp_path, OBSERVATIONS + "anna,0,HR,81\nbert,0,HR,70\ncleo,0,HR,1\n", notes=notes)
    assert len(found.value) == 8
    counts = {w["guard"]: w["count"] for w in notes.warnings}
    assert counts == {"reading": 1, "duplicates": 1}


def test_excluded_variables_and_columns_are_gone(tmp_path: Path) -> None:
    found = loaded(tmp_path, exclude=("Temp", "age"))
    assert (found.variables, found.statics) == (("HR",), ())
    assert len(found.value) == 3


def test_an_id_is_no_subgroup(tmp_path: Path) -> None:
    subjects = "id,name,outcome\n" + "".join(f"{name},x{name},0\n" for name in NAMES)
    (found,) = problems(tmp_path, subjects=subjects, groups=("name",))
    assert found["column"] == "name"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"id,value\n", "no rows"),
        (b"id,value\nm\xfcller,1\n", "Latin-1"),
        ("id,value\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"id,id\n1,2\n", "same name"),
        (b"id,value\n1,2\n3,4,5\n", "cannot be read as a table"),
        (b"PAR1 and nothing", "cannot be read as a table"),
        (b"id,value\n\x00,1\n", "null bytes"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DatasetInvalid, match=words) as refused:
        read_table(tmp_path / "t.csv", 3)
    (problem,) = refused.value.facts["problems"]
    assert problem["file"] == 3
    if b"3,4,5" in content:
        assert problem["row"] == 3
    if b"\xfc" in content:
        assert problem["row"] == 2


def test_columns_of_lists_are_refused_by_name(tmp_path: Path) -> None:
    pl.DataFrame({"id": ["a"], "many": [[1, 2]]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DatasetInvalid, match="neither numbers nor text") as refused:
        read_table(tmp_path / "t.parquet", 0)
    assert refused.value.facts["problems"][0]["column"] == "many"


def test_a_file_without_a_header_does_not_show_its_first_patient(tmp_path: Path) -> None:
    found = problems(tmp_path, subjects="anna,54,F,0\nbert,61,M,1\n")
    assert {one["column"] for one in found} == {"id", "outcome", "sex"}


def test_a_million_observations_take_seconds(tmp_path: Path) -> None:
    random, count = np.random.default_rng(0), 1_000_000
    pl.DataFrame(
        {
            "id": random.integers(0, 5000, count),
            "time": random.uniform(0, 48, count),
            "variable": np.array(["a", "b", "c"])[random.integers(0, 3, count)],
            "value": random.normal(size=count),
        }
    ).write_parquet(tmp_path / "o.parquet")
    pl.DataFrame({"id": np.arange(5000), "outcome": np.arange(5000) % 2}).write_parquet(tmp_path / "s.parquet")
    found = read([tmp_path / "o.parquet", tmp_path / "s.parquet"], SequencesOptions())
    assert len(found.value) == count
    assert (np.diff(found.time)[np.diff(found.subject) == 0] >= 0).all()
