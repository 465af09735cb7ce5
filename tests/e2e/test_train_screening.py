"""From a table of molecules to a ranking: data set, training of the smallest recipe, and answers that give its AUC."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from sklearn.metrics import roc_auc_score, root_mean_squared_error

from models.data.scaffolds import parts
from tests.screening_data import active, known, smiles
from tests.services.home import Home

RECIPE = ["--recipe", "boosting", "--set", "seeds=1", "--set", "rounds=20", "--set", "least_in_leaf=3"]


def label(place: int, text: str) -> int:
    """Every ninth says the opposite, so that no figure is perfect."""
    return 1 - active(text) if place % 9 == 0 else active(text)


def part(place: int) -> str:
    return ("train", "train", "train", "validation", "test")[(place + place // 30) % 5]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    started = Home(tmp_path_factory.mktemp("s"))
    written = io.StringIO()
    rows = csv.writer(written)
    rows.writerow(("smiles", "binds", "split"))
    rows.writerows((text, label(place, text), part(place)) for place, text in enumerate(smiles()))
    (started.folder / "molecules.csv").write_text(written.getvalue())
    yield started
    started.stop()


@pytest.fixture(scope="module")
def version(home: Home) -> dict[str, Any]:
    """binders@1, as `medjobs train --watch --json` prints it."""
    options = ["--option", 'targets=["binds"]', "--option", "split=split"]
    found = home.json("data", "add", "binders", "--format", "molecules", "molecules.csv", *options)
    assert found["state"] == "ready", found
    assert found["counts"] == {"train": 180, "validation": 60, "test": 60}
    return dict(home.json("train", "screening", "--data", "binders", *RECIPE, "--watch"))


def test_given_a_trained_version_when_the_test_molecules_are_screened_then_they_give_the_auc_of_its_card(
    home: Home, version: dict[str, Any]
) -> None:
    tested = [(text, label(place, text)) for place, text in enumerate(smiles()) if part(place) == "test"]
    file = "".join(f"{text} {truth}\n" for text, truth in tested) + "nobody's molecule\n"
    with home.client() as client:
        job = client.submit("screening", client.upload(file.encode()), model="binders@1").wait(300)
        assert job.state == "succeeded", f"{job.data}\n{home.logs()}"
        table = pl.read_csv(io.BytesIO(job.artifact("table.csv")))
        items = job.result().items
        assert b"<svg" in job.artifact("molecule-001.svg")
        report = job.artifact("report.html").decode()

    assert len(table) == len(tested) + 1
    scored = table.filter(pl.col("error").is_null())
    card = version["manifest"]["metrics"]["test"]
    assert card["n"] == len(tested)
    found = roc_auc_score(scored["name"].cast(pl.Int64).to_list(), scored["p binds"].to_list())
    assert found == pytest.approx(card["auc"]["value"], abs=0.002)
    assert found > 0.7
    assert version["manifest"]["baseline"]["mean"]
    assert items[0]["rank"] == 1
    assert len(items[0]["atom_weights"]) > 3
    assert items[-1]["error"]["code"] == "not-a-molecule"
    assert "data:image/svg+xml" in report
    assert "nobody" not in home.logs()


def test_given_molecules_typed_as_json_then_the_ranking_is_printed(home: Home, version: dict[str, Any]) -> None:
    home.run("models", "promote", "binders@1")
    typed = home.run(
        "submit", "--kind", "screening", "--model", "binders", "--data", '{"smiles": "OC(=O)CC"}', "--wait"
    )
    assert "binds" in typed
    assert "CCC(=O)O" in typed


def test_given_measured_numbers_then_they_are_learnt_screened_in_their_unit_and_gated_by_their_error(
    home: Home,
) -> None:
    rows = "".join(f"{text},{known(text)},{part(place)}\n" for place, text in enumerate(smiles()))
    (home.folder / "numbers.csv").write_text("smiles,logS,split\n" + rows)
    options = ["--option", 'targets=["logS"]', "--option", "split=split", "--option", "values=numbers"]
    options += ["--option", 'units={"logS": "log mol/l"}']
    found = home.json("data", "add", "measured", "--format", "molecules", "numbers.csv", *options)
    assert found["state"] == "ready", found
    good = home.json("train", "screening", "--data", "measured", *RECIPE, "--set", "rounds=120", "--watch")
    poor = home.json("train", "screening", "--data", "measured", *RECIPE, "--watch")
    wrong = [one["manifest"]["metrics"]["test"]["rmse"]["value"] for one in (good, poor)]
    assert wrong[0] < wrong[1]

    compared = home.json("models", "compare", "measured@1", "measured@2")
    (rmse,) = [one for one in compared["differences"] if one["figure"] == "rmse"]
    assert rmse["difference"] == pytest.approx(wrong[1] - wrong[0], abs=0.002)
    home.run("models", "promote", "measured@1")
    # The worse one loses, however little: no interval of its gain begins at 0.
    home.run("models", "gate", "measured", "--metric", "rmse")
    home.run("models", "promote", "measured@2", code=1)

    tested = [text for place, text in enumerate(smiles()) if part(place) == "test"]
    with home.client() as client:
        file = client.upload("\n".join(tested).encode())
        job = client.submit("screening", file, model="measured", params={"order": "lowest", "pictures": 1}).wait(300)
        assert job.state == "succeeded", f"{job.data}\n{home.logs()}"
        table = pl.read_csv(io.BytesIO(job.artifact("table.csv")))
        score = job.result().items[0]["scores"][0]
    value = table["value logS [log mol/l]"]
    assert value.is_sorted()
    assert (score["value"], score["unit"]) == (value[0], "log mol/l")
    truth = [known(text) for text in table["given"]]
    assert root_mean_squared_error(truth, value) == pytest.approx(wrong[0], abs=0.01)


def test_given_no_split_column_then_a_set_can_be_split_by_scaffold(home: Home) -> None:
    options = ["--option", 'targets=["binds"]', "--option", "split_by=scaffold"]
    found = home.json("data", "add", "frames", "--format", "molecules", "molecules.csv", *options)
    split = parts(smiles())
    assert found["counts"] == {name: int((split == which).sum()) for which, name in enumerate(json.loads(
        '["train", "validation", "test"]'))}  # fmt: skip
