"""Targets that are numbers: learnt by every part, told in their unit with an interval, ranked, drawn and judged."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score, root_mean_squared_error

from jobs.errors import DatasetInvalid, InputError
from jobs.predicting import Source
from jobs.results import Report
from models.cases import Cases
from models.comparing import Version, compare, gate
from models.data.canonical import TEST, TRAIN, VALIDATION, MoleculeSet, dump, fingerprint, load
from models.screening import blending, explaining, interval, preparing, screen
from models.screening import ensemble as ensembles
from models.screening.kind import Estimate, ScreeningItem, ScreeningParams
from models.screening.molecules import from_smiles
from models.screening.outcome import OUTCOMES, Scale
from models.screening.recipes import Blend, Boosting
from models.screening.report import render
from models.screening.tasks import masked_loss
from models.screening.trainer import train
from models.training.local import LocalWork
from models.training.session import Session
from tests.screening_data import dataset, known, numbers, smiles, trained, version
from tests.unit.test_screening_model import PLAN

torch.set_num_threads(1)

NUMBERS = OUTCOMES["numbers"]
RANDOM = np.random.default_rng(0)


def test_a_version_read_from_its_files_gives_the_figures_of_its_card_in_the_unit(tmp_path: Path) -> None:
    made, data = trained(of_numbers=True), numbers()
    rows = data.part(TEST)
    answer = ensembles.load(version(tmp_path, of_numbers=True)).answer([from_smiles(data.smiles[n]) for n in rows])
    truth, test = data.labels[rows, 0], made.manifest["metrics"]["test"]
    assert test["rmse"]["value"] == pytest.approx(root_mean_squared_error(truth, answer.value[:, 0]), abs=1e-3)
    assert test["mae"]["value"] == pytest.approx(mean_absolute_error(truth, answer.value[:, 0]), abs=1e-3)
    assert test["r2"]["value"] == pytest.approx(r2_score(truth, answer.value[:, 0]), abs=1e-3)
    assert test["rmse"]["low"] < test["rmse"]["value"] < test["rmse"]["high"]
    assert test["rmse"]["value"] < 0.5 * truth.std(), "the answer is known, and boosting finds most of it"
    assert answer.half is not None
    held = np.abs(answer.value[:, 0] - truth) <= answer.half[0]
    assert test["coverage"]["value"] == pytest.approx(held.mean(), abs=1e-3)
    assert test["coverage"]["value"] > 0.75
    assert made.manifest["labels"] == [{"name": "solubility", "unit": "log mol/l"}]
    assert made.manifest["summary"].startswith("Estimate of solubility")
    kept = Cases.read(made.files["cases.npz"])
    assert kept.figure("rmse")[0] == pytest.approx(test["rmse"]["value"], abs=1e-3)


def test_the_better_of_two_has_the_smaller_error() -> None:
    for targets, figure in ((1, "rmse"), (2, "mean_rmse")):
        manifest = trained(targets, of_numbers=True).manifest
        own, plain = manifest["metrics"]["mean"][figure], manifest["baseline"]["mean"][figure]
        assert manifest["baseline"]["beaten"] == (own < plain)
    assert NUMBERS.better(0.5, 0.6)
    assert not NUMBERS.better(0.6, 0.5)


def test_two_targets_of_very_different_units_are_both_learnt_and_judged_each_in_its_own(tmp_path: Path) -> None:
    made, data = trained(2, of_numbers=True), numbers(2)
    rows = data.part(TEST)
    value = (
        ensembles.load(version(tmp_path, 2, of_numbers=True)).answer([from_smiles(data.smiles[n]) for n in rows]).value
    )
    truth = data.labels[rows]
    scale = NUMBERS.scale(preparing.fitting(data)[0].labels)
    each = []
    for column, target in enumerate(data.targets):
        measured = ~np.isnan(truth[:, column])
        wrong = root_mean_squared_error(truth[measured, column], value[measured, column])
        assert made.manifest["metrics"]["subgroups"][f"target={target}"]["rmse"]["value"] == pytest.approx(
            wrong, rel=1e-3
        )
        each.append(wrong / scale.spread[column])
    assert made.manifest["metrics"]["test"]["mean_rmse"]["value"] == pytest.approx(np.mean(each), abs=1e-3)
    assert max(each) < 0.7
    assert np.abs(Cases.read(made.files["cases.npz"]).columns["measured"]).max() < 10, "in spreads, not in mg"


def screened(folder: Path, targets: int, **params: object) -> tuple[screen.Finished, LocalWork]:
    work = LocalWork(folder=folder)
    work.model = version(folder / "model", targets, of_numbers=True)
    work.params = ScreeningParams.model_validate({"pictures": 2, **params})
    (folder / "in.smi").write_text("CC(=O)O acid\nCCCCCC hexane\nCCO ethanol\nnonsense\n")
    work.sources = (Source((folder / "in.smi",)),)
    return screen.run(work), work


@pytest.mark.parametrize("order", ["highest", "lowest"])
def test_a_job_ranks_by_value_and_tells_unit_spread_and_interval(tmp_path: Path, order: str) -> None:
    finished, _ = screened(tmp_path, 1, order=order)
    table = pl.read_parquet(io.BytesIO(next(one for one in finished.artifacts if one.name == "table.parquet").read()))
    values = table["value solubility [log mol/l]"].drop_nulls().to_list()
    assert len(values) == 3
    assert values == sorted(values, reverse=order == "highest")
    half = (table["high solubility"] - table["low solubility"]).drop_nulls() / 2
    assert half.to_list() == pytest.approx([half[0]] * 3, rel=1e-4)
    items = [item for item in finished.items if "error" not in item]
    for item, value in zip(items, values, strict=True):
        (score,) = ScreeningItem.model_validate(item).scores
        assert isinstance(score, Estimate)
        assert (score.value, score.unit) == (value, "log mol/l")
        assert score.low is not None
        assert score.high is not None
        assert score.low < score.value < score.high
    assert items[0]["name"] == ("acid" if order == "highest" else "hexane")


def test_atom_contributions_are_in_the_unit_of_the_target(tmp_path: Path) -> None:
    finished, work = screened(tmp_path, 1)
    ensemble = ensembles.load(work.model)  # type: ignore[arg-type]
    molecule = from_smiles(finished.items[0]["smiles"])
    hidden = [explaining._hidden(molecule, place) for place in range(molecule.mol.GetNumAtoms())]
    value = ensemble.answer([molecule, *hidden], views=1).value[:, 0]
    assert finished.items[0]["atom_weights"] == pytest.approx((value[0] - value[1:]).round(4), abs=1e-4)


def test_the_report_says_value_unit_and_interval(tmp_path: Path) -> None:
    finished, work = screened(tmp_path, 1)
    assert work.model is not None
    listed = [
        {"name": one.name, "media_type": one.media_type, "href": "", "item": one.item} for one in finished.artifacts
    ]
    result = {
        "kind": "screening", "model": {"name": "made-up", "version": 1}, "items": finished.items, "artifacts": listed,
        "warnings": list(finished.warnings), "provenance": finished.provenance,
    }  # fmt: skip
    told = {"id": "1", "created_at": "2026-01-01T00:00:00Z", "finished_at": None, "labels": {}}
    files = {one.name: one for one in finished.artifacts}
    page = render(Report(told, result, lambda name: files[name].read(), work.model.manifest))
    score = finished.items[0]["scores"][0]
    assert "<th>solubility [log mol/l]</th>" in page
    assert f"{score['value']:.4g} log mol/l</span>" in page
    assert f"({score['low']:.4g} to {score['high']:.4g})" in page
    assert "the number falls without it" in page
    assert "Root mean squared error" in page


def test_numbers_of_several_targets_have_no_mean_to_rank_by(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"solubility, dose"):
        screened(tmp_path, 2)
    finished, _ = screened(tmp_path, 2, target="dose", top=1)
    assert finished.items[0]["name"] == "acid", "two oxygens"


def test_every_part_of_the_blend_learns_numbers() -> None:
    small = {"epochs": 1, "hidden": 8}
    recipe = Blend.model_validate(
        {"seeds": 1, "lstm": {**small, "views": 2}, "mpnn": small, "boosting": {"rounds": 60, "least_in_leaf": 3}}
    )
    session = Session.local(numbers(), recipe, seed=0)
    session.work.original = {"plan": PLAN}
    made = train(session)
    told = made.manifest["metrics"]["parts"]
    assert set(told) == {"smiles-lstm", "d-mpnn", "boosting", "ecfp-boosting"}
    assert "d-mpnn-0/validation_r2" in session.curves.as_json()
    seen = made.manifest["metrics"]["validation"]
    assert seen["loss"] <= min(one["loss"] for one in seen["parts"].values()), "one part alone is among what is tried"
    assert seen["loss"] < 0.3


def test_what_was_not_measured_has_no_part_in_the_squared_error() -> None:
    scores, labels = torch.tensor([[0.5, -2.0], [1.0, 5.0]]), torch.tensor([[1.0, float("nan")], [0.0, 4.0]])
    assert float(masked_loss(scores, labels, NUMBERS)) == pytest.approx(mean_squared_error([1, 0, 4], [0.5, 1, 5]))


def test_the_blend_of_numbers_leaves_noise_out_and_ends_in_the_unit() -> None:
    y = RANDOM.normal(300, 50, (400, 1)).astype(np.float32)
    scale = NUMBERS.scale(y)
    good, noise = scale.standardised(y) * 0.5 + RANDOM.normal(0, 0.1, y.shape), RANDOM.normal(size=y.shape)
    found = blending.fit(np.stack([good, noise]), y, NUMBERS, scale)
    assert found.weights[0] >= 0.9
    answer = found.answer(np.stack([good, noise]))
    assert answer.mean() == pytest.approx(y.mean(), rel=1e-3)
    assert root_mean_squared_error(y, answer) < 15


def test_intervals_hold_what_they_say_on_new_molecules_and_few_measurements_give_none() -> None:
    y = RANDOM.normal(5, 2, (4000, 1)).astype(np.float32)
    scale = NUMBERS.scale(y)
    scores = (scale.standardised(y) + RANDOM.normal(0, 0.5, y.shape))[None]
    seen, new = slice(0, 400), slice(400, None)
    half = interval.half_widths(scores[:, seen], y[seen], NUMBERS, scale)
    answer = blending.fit(scores[:, seen], y[seen], NUMBERS, scale).answer(scores[:, new])
    assert (np.abs(answer - y[new]) <= half).mean() == pytest.approx(interval.LEVEL, abs=0.03)
    assert np.isnan(interval.half_widths(scores[:, :19], y[:19], NUMBERS, scale)).all()


def test_copies_of_a_number_count_as_their_mean() -> None:
    data = MoleculeSet(
        split=np.zeros(3, np.uint8), key=np.arange(3, dtype=np.uint64), smiles=("CCO", "OCC", "CCN"),
        labels=np.array([[1.0], [2.0], [4.0]], dtype=np.float32), targets=("y",), numbers=True,
    )  # fmt: skip
    found = preparing.fold(preparing.read(data, TRAIN), NUMBERS)
    assert found.labels[:, 0].tolist() == [1.5, 4.0]
    assert found.contradicted == 1


@pytest.mark.parametrize(
    "change", [lambda y: np.full_like(y, 3.0), lambda y: np.where(np.arange(300)[:, None] < 5, y, np.nan)]
)
def test_numbers_that_teach_nothing_are_refused(change: object) -> None:
    data = numbers()
    with pytest.raises(DatasetInvalid, match="at least 10 measurements"):
        train(Session.local(replace(data, labels=change(data.labels).astype(np.float32)), Boosting(), seed=0))  # type: ignore[operator]


def test_a_set_says_that_its_targets_are_numbers_and_a_set_of_classes_is_written_as_before(tmp_path: Path) -> None:
    classes, measured = dataset(), numbers()
    assert b"numbers" not in dump(classes)["meta.json"]
    assert fingerprint(classes) != fingerprint(replace(classes, numbers=True))
    assert fingerprint(measured) != fingerprint(replace(measured, units=("mg",)))
    for name, content in dump(measured).items():
        (tmp_path / name).write_bytes(content)
    again = load(tmp_path)
    assert isinstance(again, MoleculeSet)
    assert (again.numbers, again.units) == (True, ("log mol/l",))
    assert fingerprint(again) == fingerprint(measured)
    assert known(smiles()[0]) == pytest.approx(2 - 7 / 3)
    assert measured.part(VALIDATION).size == 60


def cases(predicted: np.ndarray, measured: np.ndarray) -> Cases:
    return Cases(np.arange(len(measured), dtype=np.uint64), {"measured": measured, "predicted": predicted}, {})


def test_figures_of_numbers_are_those_of_scikit_learn_and_scipy_however_often_a_case_is_drawn() -> None:
    from scipy.stats import spearmanr

    measured = RANDOM.integers(0, 20, 80).astype(float)
    predicted = np.round(measured + RANDOM.normal(0, 5, 80))
    times = RANDOM.integers(0, 4, 80)
    found = cases(predicted, measured)
    for weights in (np.ones(80, dtype=int), times):
        y, z = np.repeat(measured, weights), np.repeat(predicted, weights)
        wanted = {
            "rmse": root_mean_squared_error(y, z), "mae": mean_absolute_error(y, z), "r2": r2_score(y, z),
            "spearman": spearmanr(y, z).statistic,
        }  # fmt: skip
        assert found.figures == tuple(wanted)
        for name, value in wanted.items():
            assert found.figure(name, weights[None].astype(float))[0] == pytest.approx(value, abs=1e-9), name


def test_the_gate_lets_the_smaller_error_through_and_stops_the_larger() -> None:
    measured = RANDOM.normal(size=200)
    near, far = measured + RANDOM.normal(0, 0.3, 200), measured + RANDOM.normal(0, 0.9, 200)

    def made(predicted: np.ndarray) -> Version:
        packed = io.BytesIO()
        np.savez(packed, key=np.arange(200, dtype=np.uint64), measured=measured, predicted=predicted)
        return Version({"kind": "screening", "data": {"fingerprint": "f"}}, packed.getvalue())

    rule = {"metric": "rmse", "margin": 0.05}
    assert gate(rule, made(near), made(far)).passed
    assert not gate(rule, made(far), made(near)).passed
    found = compare(made(far), made(near)).of("rmse")
    assert found is not None
    assert found.difference < 0
    assert not found.higher_is_better
    assert found.gain()[1] > 0


def test_scores_are_taken_back_to_units_target_by_target() -> None:
    scale = Scale(np.array([10.0, -1.0]), np.array([2.0, 0.5]))
    lines = scale.in_unit(np.array([[0.0, 1.0], [1.0, 2.0]]))
    assert lines.tolist() == [[10.0, 2.0], [-0.5, 1.0]]
