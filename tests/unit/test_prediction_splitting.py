"""Files of many patients: each becomes one source, in order, and a broken one costs only itself."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from jobs.errors import EmptyInput, InputError, JobError, LimitExceeded
from jobs.predicting import Source
from models.prediction import splitting, tables
from models.prediction.contract import Contract
from models.prediction.patients import Patient, parse
from models.prediction.splitting import split

CONTRACT = Contract.read(
    {
        "unit": "hours", "horizon": 48,
        "variables": [{"name": "HR", "low": 0, "high": 300}, {"name": "Temp", "low": 25, "high": 45}],
        "statics": [{"name": "Age", "low": 0, "high": 120}],
        "outcome": {"kind": "binary", "name": "death", "horizons": []}, "course": None,
    }
)  # fmt: skip

LONG = """subject,time,name,value
b,1.0,HR,80
a,,Age,54
a,3.0,HR,90
b,0.5,Temp,37.5
a,2.0,HR,91
"""


def patient(age: int) -> dict[str, Any]:
    return {"static": {"Age": age}, "observations": [{"time": 1, "name": "HR", "value": age + 1}]}


def ages(path: Path) -> list[float | str]:
    """The age of each patient of a file, or the class of its error."""
    return [type(one).__name__ if isinstance(one, JobError) else _parsed(one) for one in split(path)]


def _parsed(source: Source) -> float | str:
    try:
        return parse(source.data, CONTRACT).static["Age"]
    except InputError as error:
        return type(error).__name__


def patients(path: Path) -> list[Patient]:
    return [parse(one.data, CONTRACT) for one in split(path) if isinstance(one, Source)]


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "input"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("indent", [None, 2])
def test_one_patient_as_json(tmp_path: Path, indent: int | None) -> None:
    assert ages(write(tmp_path, json.dumps(patient(54), indent=indent))) == [54.0]
    assert ages(write(tmp_path, b"\xef\xbb\xbf\n " + json.dumps(patient(54), indent=indent).encode() + b"\n\n")) == [
        54.0
    ]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_of_patients(tmp_path: Path, indent: int | None) -> None:
    assert ages(write(tmp_path, json.dumps([patient(n) for n in range(50)], indent=indent))) == list(range(50))


def test_a_list_is_read_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given chunks that end anywhere within a patient, then nothing is lost at the seams."""
    path = write(tmp_path, " [ " + " ,\n".join(json.dumps(patient(n)) for n in range(20)) + " ]\n ")
    for size in (1, 7, 64, 1000):
        monkeypatch.setattr(splitting, "_CHUNK", size)
        assert ages(path) == list(range(20))


def test_json_lines_lose_only_the_broken_line(tmp_path: Path) -> None:
    lines = [json.dumps(patient(1)), '{"static": {"Age": }', "", json.dumps(patient(3)), "[]", json.dumps(patient(4))]
    assert ages(write(tmp_path, "\n".join(lines))) == [1.0, "InputError", 3.0, "InputError", 4.0]
    assert ages(write(tmp_path, "\n".join(['{"Age" }', *lines]))) == [
        "InputError",
        1.0,
        "InputError",
        3.0,
        "InputError",
        4.0,
    ]


def test_a_line_beyond_the_limit_costs_only_its_patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "MOST_BYTES", 200)
    lines = [json.dumps(patient(1)), "{" + " " * 900 + "}", json.dumps(patient(3))]
    assert ages(write(tmp_path, "\n".join(lines))) == [1.0, "LimitExceeded", 3.0]


@pytest.mark.parametrize(
    "text", ['[{"static": {"Age": 1}}, {"static": {"Age": ]', '[{"static": {"Age": 1}} {', '[{"static": {"Age": 1}}] 7']
)
def test_a_broken_list_gives_what_stands_before_the_break(tmp_path: Path, text: str) -> None:
    found = split(write(tmp_path, text))
    assert parse(next(found).data, CONTRACT).static == {"Age": 1.0}
    with pytest.raises(InputError, match="cannot be read from here on"):
        list(found)


def test_a_long_table_in_any_order(tmp_path: Path) -> None:
    """Given rows of two patients mixed, then each has its own in order of time, the first named comes first."""
    b, a = patients(write(tmp_path, LONG))
    assert [tuple(one) for one in b.observations] == [(0.5, "Temp", 37.5), (1.0, "HR", 80.0)]
    assert [tuple(one) for one in a.observations] == [(2.0, "HR", 91.0), (3.0, "HR", 90.0)]
    assert (b.static, a.static) == ({}, {"Age": 54.0})


def test_measurements_of_one_moment_stay_in_the_order_of_the_table(tmp_path: Path) -> None:
    rows = "".join(f"a,{1 - number % 2},HR,{100 + number}\n" for number in range(60))
    (one,) = patients(write(tmp_path, f"subject,time,name,value\n{rows}"))
    late = [observation.value for observation in one.observations if observation.time == 1]
    assert late == [float(100 + number) for number in range(0, 60, 2)]


@pytest.mark.parametrize("change", [(",", ";"), (",", "\t"), ("subject", "id"), ("name", "variable"), ("\n", "\r\n")])
def test_other_spellings_of_the_table_say_the_same(tmp_path: Path, change: tuple[str, str]) -> None:
    expected = patients(write(tmp_path, LONG))
    assert patients(write(tmp_path, LONG.replace(*change))) == expected
    assert patients(write(tmp_path, "\ufeff" + LONG)) == expected


def test_parquet_says_what_csv_says(tmp_path: Path) -> None:
    expected = patients(write(tmp_path, LONG))
    table = pl.read_csv(LONG.encode())
    table.write_parquet(tmp_path / "numbers")
    table.with_columns(pl.all().cast(pl.String)).write_parquet(tmp_path / "text")
    assert patients(tmp_path / "numbers") == patients(tmp_path / "text") == expected


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a,x,HR,80", "Row 6, column time, is not a finite number"),
        ("a,nan,HR,80", "Row 6, column time, is not a finite number"),
        ("a,4,HR,", "Row 6, column value, is not a finite number"),
        ("a,4,HR,inf", "Row 6, column value, is not a finite number"),
        ("a,4,,80", "Row 6, column name, is empty"),
        ("a,4", "Row 6, column name, is empty"),
        ("a,,Age,55", "Row 6 gives a static value that differs"),
        (" ,4,HR,80", "Row 6, column subject, is empty"),
    ],
)
def test_a_row_that_cannot_be_read_fails_its_own_patient(tmp_path: Path, row: str, words: str) -> None:
    found = list(split(write(tmp_path, LONG + row + "\n")))
    errors = [one.detail for one in found if isinstance(one, JobError)]
    assert len(errors) == 1
    assert words in errors[0]
    assert len(found) - len(errors) == (2 if row.startswith(" ") else 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("subject,time,value\na,1,2\n", "no column name"),
        ("a,b\n1,2\n", "no column subject and no column time"),
        ("subject,time,name,value\n", "no rows"),
        ("subject,time,name,value\na,1,HR,3,5\n", "as many fields in each line"),
        ("subject,time,name,value\na\xff,1,HR,3\n".encode("latin-1"), "UTF-8"),
        ("\xff\xfe\x00\x00 binary".encode("latin-1"), "neither JSON nor"),
        (b"PAR1 this is no Parquet file PAR1", "neither JSON nor readable Parquet"),
        ("[]", "holds no patient"),
    ],
)
def test_a_file_that_is_no_table_is_refused_as_a_whole(tmp_path: Path, content: str | bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        list(split(write(tmp_path, content)))


def test_damaged_parquet_is_refused_and_not_a_crash(tmp_path: Path) -> None:
    """Given a byte changed anywhere, then there are patients or a coded error, and nothing else."""
    pl.read_csv(LONG.encode()).write_parquet(tmp_path / "good")
    good = (tmp_path / "good").read_bytes()
    for at in range(0, len(good), 23):
        path = write(tmp_path, good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :])
        with contextlib.suppress(InputError):
            list(split(path))


def test_an_empty_file_and_an_endless_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EmptyInput):
        list(split(write(tmp_path, " \n")))
    monkeypatch.setattr(tables, "MOST_ROWS", 4)
    with pytest.raises(LimitExceeded):
        list(split(write(tmp_path, LONG)))
