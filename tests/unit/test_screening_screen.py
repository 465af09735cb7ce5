"""The runner: every line once, ranked; bad lines in their place; and a job that was stopped goes on where it was."""

from __future__ import annotations

import gc
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from jobs.errors import AllItemsFailed, InputError, LimitExceeded
from jobs.predicting import NewArtifact, Source
from jobs.results import DISCLAIMER, Report
from jobs.running import Finished, Stop
from models.screening import explaining, screen, table
from models.screening.ensemble import load
from models.screening.kind import ScreeningItem, ScreeningParams
from models.screening.molecules import Molecule, from_smiles
from models.screening.report import render
from models.training.local import LocalWork
from tests.screening_data import smiles, version

torch.set_num_threads(1)


@pytest.fixture
def work(tmp_path: Path) -> LocalWork:
    made = LocalWork(folder=tmp_path)
    made.model = version(tmp_path / "model", 2)
    made.params = ScreeningParams(explain=False)
    return made


def given(work: LocalWork, *contents: str, **params: Any) -> LocalWork:
    paths = [work.folder / f"input-{number}" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_text(content)
    work.sources = tuple(Source((path,)) for path in paths)
    work.params = ScreeningParams(**{"explain": False, **params})
    return work


def rows(finished: Finished, name: str = "table.parquet") -> pl.DataFrame:
    content = next(one.read() for one in finished.artifacts if one.name == name)
    return pl.read_parquet(io.BytesIO(content)) if name.endswith("parquet") else pl.read_csv(io.BytesIO(content))


def test_every_line_stands_in_the_table_once_in_order_of_rank_and_errors_last(work: LocalWork) -> None:
    file = "CC(=O)O acid\nnonsense\n\nCCC\nOC(C)=O again\nCCO.Cl salt\n"
    finished = screen.run(given(work, file, "smiles\nCCN\nC1CC\n"))
    found = rows(finished)
    assert sorted(zip(found["input"], found["line"], strict=True)) == [
        *((0, line) for line in range(1, 7)), (1, 2), (1, 3),
    ]  # fmt: skip
    ranks = found["rank"].to_list()
    assert ranks == [1, 1, 2, 3, 4, None, None, None]
    assert found["smiles"][:2].to_list() == ["CC(=O)O"] * 2
    assert found["copy"][:2].to_list() == [False, True]
    assert found.filter(pl.col("smiles") == "CCO")["salts_stripped"].to_list() == [True]
    assert found["error"][5:].to_list() == ["not-a-molecule", "empty-input", "not-a-molecule"]
    mean = (found["p acid or amide"] + found["p oxygen"])[:5].to_list()
    assert mean == sorted(mean, reverse=True)
    assert rows(finished, "table.csv")["rank"].to_list() == ranks

    items = [item for item in finished.items if "error" not in item]
    assert [item["rank"] for item in items] == [1, 2, 3, 4]
    assert items[0]["name"] == "acid"
    assert items[0]["copies"] == 2
    for item in items:
        ScreeningItem.model_validate(item)
    failed = [item["error"] for item in finished.items if "error" in item]
    assert [(one["item"], one["line"]) for one in failed] == [(0, 2), (0, 3), (1, 3)]
    assert finished.warnings == ("3 of 8 lines have no score: empty-input 1, not-a-molecule 2.",)
    assert "nonsense" not in json.dumps(finished.items)


def test_the_lowest_of_one_target_can_rank_first_and_top_cuts_the_items_not_the_table(work: LocalWork) -> None:
    finished = screen.run(given(work, "\n".join(smiles()[:30]), target="oxygen", order="lowest", top=5))
    found = rows(finished)
    assert found["p oxygen"].to_list() == sorted(found["p oxygen"].to_list())
    assert [item["rank"] for item in finished.items] == [1, 2, 3, 4, 5]
    assert len(found) == 30


def test_inline_molecules_are_inputs_of_one_line(work: LocalWork) -> None:
    work.sources = (Source(data={"smiles": "CCO"}), Source(data={"smiles": "junk"}))
    finished = screen.run(work)
    assert finished.items[0]["input"] == 0
    assert finished.items[1]["error"]["item"] == 1


def test_a_line_that_cannot_be_read_keeps_no_molecule_of_its_chunk_in_memory(work: LocalWork) -> None:
    """By Python's count of references alone: its collector comes late, for it knows nothing of what RDKit allocates."""
    gc.collect()
    before = alive()
    gc.disable()
    try:
        screen.run(given(work, "CCO\nnonsense\nCCC\n\nCCN\n"))
        assert alive() == before
    finally:
        gc.enable()


def alive() -> int:
    """Molecules in memory."""
    return sum(type(one) is Molecule for one in gc.get_objects())


def test_a_job_without_one_molecule_fails_with_what_was_wrong(work: LocalWork) -> None:
    with pytest.raises(AllItemsFailed, match="not-a-molecule 2"):
        screen.run(given(work, "xx\nyy\n"))
    with pytest.raises(AllItemsFailed, match=r"bad-input 1\. The first: The table has no column named smiles"):
        screen.run(given(work, "id,compound\n1,CCO\n"))


def test_a_target_that_the_model_has_not_is_refused_with_those_it_has(work: LocalWork) -> None:
    with pytest.raises(InputError, match="acid or amide, oxygen"):
        screen.run(given(work, "CCO", target="logP"))


def test_more_lines_than_a_job_may_have_are_refused(work: LocalWork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "MOST_LINES", 3)
    with pytest.raises(LimitExceeded):
        screen.run(given(work, "C\nCC\nCCC\nCCCC\n"))


class Stopped(LocalWork):
    """Told to stop after some looks."""

    looks = 0

    def step(self) -> None:
        self.looks -= 1
        if self.looks < 0:
            raise Stop


def test_a_job_that_was_stopped_goes_on_and_ends_with_the_same_table(
    work: LocalWork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "CHUNK", 16)
    monkeypatch.setattr(table, "ROWS", 32)
    monkeypatch.setattr(table, "BLOCK", 40)
    text = "\n".join([*smiles()[:90], "broken", *smiles()[:10]])
    whole = screen.run(given(work, text))

    first = Stopped(folder=tmp_path / "first")
    first.folder.mkdir()
    first.model, first.looks = work.model, 4
    with pytest.raises(Stop):
        screen.run(given(first, text))
    (_, said) = first.checkpoints.newest()
    assert 0 < said["rows"] < 101

    second = LocalWork(folder=tmp_path / "second")
    second.folder.mkdir()
    second.model, second.checkpoints = work.model, first.checkpoints
    resumed = screen.run(given(second, text))
    assert second.logs == [f"goes on after line {said['rows']}, from a checkpoint"]
    assert rows(resumed).equals(rows(whole))
    assert resumed.items == whole.items
    assert rows(whole)["copy"].sum() == 10


def test_hiding_the_acid_lowers_what_was_learnt_from_acids(tmp_path: Path) -> None:
    ensemble, molecule = load(version(tmp_path, 2)), from_smiles("OC(=O)CCC1CCCCC1")
    weights = explaining.atom_weights(ensemble, molecule, 0)
    assert len(weights) == molecule.mol.GetNumAtoms()
    strongest = molecule.mol.GetAtomWithIdx(int(np.argmax(weights)))
    acid = {place for match in molecule.mol.GetSubstructMatches(from_smiles("OC=O").mol) for place in match}
    assert strongest.GetIdx() in acid
    picture = explaining.drawn(molecule, weights, "1: 0.9").decode()
    assert picture.startswith("<?xml")
    assert "ellipse" in picture


def test_the_report_draws_the_first_molecules_and_takes_no_name_for_markup(work: LocalWork) -> None:
    finished = screen.run(given(work, "CC(=O)O <script>alert(1)</script>\nCCO\nxx\n", explain=True, pictures=1))
    assert [item["atom_weights"] is not None for item in finished.items[:2]] == [True, False]
    listed = [
        {"name": one.name, "media_type": one.media_type, "href": "", "item": one.item} for one in finished.artifacts
    ]
    result = {
        "kind": "screening", "model": {"name": "made-up", "version": 1}, "items": finished.items, "artifacts": listed,
        "warnings": list(finished.warnings), "provenance": finished.provenance,
    }  # fmt: skip
    told = {"id": "1", "created_at": "2026-01-01T00:00:00Z", "finished_at": None, "labels": {}}
    files: dict[str, NewArtifact] = {one.name: one for one in finished.artifacts}
    assert work.model is not None
    page = render(Report(told, result, lambda name: files[name].read(), work.model.manifest))
    assert page.count("data:image/svg+xml;base64,") == 1
    assert "<script>" not in page
    assert DISCLAIMER in page
    assert "not-a-molecule" in page
