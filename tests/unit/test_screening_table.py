"""The table: its order beside one found in memory, in blocks however small; and the alerts behind RDKit's screen."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rdkit import RDConfig

from jobs.errors import InputError
from models.screening import alerts, table
from models.screening.molecules import Molecule, from_smiles
from tests.screening_data import smiles

LINES = 700


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> table.Rows:
    """Of 700 lines every ninth is an error, many are copies, and many scores are equal."""
    monkeypatch.setattr(table, "ROWS", 50)
    monkeypatch.setattr(table, "BLOCK", 64)
    random, made = np.random.default_rng(4), table.Rows(tmp_path)
    for start in range(0, LINES, 35):
        made.add(frame(np.arange(start, start + 35), random.integers(0, 300, 35)))
    made.flush()
    return made


def frame(line: Any, molecule: Any) -> pl.DataFrame:
    """Lines (N,) of molecules (N,), which are numbers."""
    found = pl.DataFrame(
        {
            "input": np.zeros_like(line),
            "line": line,
            "name": [f"m{one}" for one in line],
            "smiles": [f"C{one}" for one in molecule],
            "given": [f"C{one}" for one in molecule],
            "p one": molecule % 10 / 10,
            "p two": molecule % 7 / 7,
        }
    )
    bad = pl.col("line") % 9 == 0
    known = [pl.when(~bad).then(pl.col(name)).alias(name) for name in ("smiles", "p one", "p two")]
    return found.with_columns(*known, pl.when(bad).then(pl.lit("not-a-molecule")).alias("error"))


@pytest.mark.parametrize("highest", [True, False])
@pytest.mark.parametrize("names", [["p one"], ["p one", "p two"]])
def test_the_order_is_that_of_a_sort_in_memory(
    rows: table.Rows, tmp_path: Path, names: list[str], highest: bool
) -> None:
    whole = pl.concat(one for _, one in rows.frames())
    score = pl.mean_horizontal(names)
    firsts = (
        whole.filter(pl.col("error").is_null()).with_columns(score=score).group_by("smiles")
        .agg(pl.col("line").min().alias("first"), pl.col("score").first(), pl.len().alias("copies"))
        .sort(["score", "first"], descending=[highest, False]).with_row_index("rank", 1)
    )  # fmt: skip
    expected = whole.join(firsts, on="smiles", how="left").sort(["rank", "line"], nulls_last=True)

    with closing(table.rank(rows, names, highest, tmp_path)) as ranking:
        parquet, written = table.write(rows, ranking, tmp_path)
        best = table.top(rows, ranking, 20)
    found = pl.read_parquet(parquet)
    for column in ("line", "rank", "smiles", "p two", "error"):
        assert found[column].to_list() == expected[column].to_list()
    assert found["copy"].to_list() == (expected["line"] != expected["first"]).to_list()
    assert found["error"].null_count() == LINES - 78
    assert pl.read_csv(written)["line"].to_list() == found["line"].to_list()
    assert best["line"].to_list() == firsts["first"][:20].to_list()
    assert best["copies"].to_list() == firsts["copies"][:20].to_list()
    assert (ranking.molecules, ranking.copies) == (len(firsts), LINES - 78 - len(firsts))


def readable(texts: list[str]) -> Iterator[Molecule]:
    for text in texts:
        try:
            yield from_smiles(text)
        except InputError:
            continue


def every_pattern(molecule: Molecule) -> list[str]:
    """What RDKit's catalogue says when all are asked."""
    return sorted({match.GetDescription() for match in alerts.catalog().GetMatches(molecule.mol)})


def test_the_screen_before_the_alerts_leaves_none_out(test_data: Path) -> None:
    """Given every eighth molecule of Tox21, then the alerts are those of the whole catalogue."""
    with (test_data / "molecules" / "tox21.csv").open() as file:
        given = list(readable([row["smiles"] for row in csv.DictReader(file)][::8]))
    whole = alerts.catalog()
    found = [alerts.pains(one) for one in given]
    assert found == [sorted({one.GetDescription() for one in whole.GetMatches(two.mol)}) for two in given]
    assert sum(map(bool, found)) > 20


def test_without_rdkits_table_of_patterns_every_pattern_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    molecules = [from_smiles(one) for one in ("O=C1C=CC(=O)C=C1", *smiles()[:10])]
    screened = [alerts.pains(one) for one in molecules]
    assert screened[0] == ["quinone_A(370)"]
    monkeypatch.setattr(RDConfig, "RDDataDir", str(tmp_path))
    alerts._catalogue.cache_clear()
    try:
        assert not alerts._catalogue()[1].any()
        assert [alerts.pains(one) for one in molecules] == screened == [every_pattern(one) for one in molecules]
    finally:
        alerts._catalogue.cache_clear()
