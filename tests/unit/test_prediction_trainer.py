"""From a data set to a version and back: small made-up sets, every recipe, on one thread."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from pydantic import ValidationError

from jobs.errors import DatasetInvalid, InputError, ModelUnusable
from jobs.predicting import ModelVersion
from jobs.running import Stop
from jobs.training import NewVersion
from models.cases import Cases
from models.data.canonical import SequenceSet
from models.prediction import ensemble, members, recipes, trainer
from models.prediction.contract import Contract
from models.prediction.ensemble import RiskEnsemble, SurvivalEnsemble
from models.training import plan, reporting
from models.training.kind import TrainingParams
from models.training.local import LocalWork
from models.training.session import Session
from tests.sequence_sets import binary_set, survival_set

NETWORK = recipes.NetworkSettings(hidden=6, epochs=3, batch=32)
TREES = recipes.BoostingSettings(rounds=15, least_in_leaf=5)
SMALL: dict[str, recipes.SequenceRecipe] = {
    "stack": recipes.Stack(
        bins=6, folds=2, gru_d=NETWORK, bilstm=recipes.BiLstmSettings(hidden=6, epochs=3, batch=32), boosting=TREES
    ),
    "gru-d": recipes.GruD(bins=6, folds=2, hidden=6, epochs=3, batch=32),
    "bilstm": recipes.BiLstm(bins=6, folds=2, hidden=6, epochs=3, batch=32),
    "boosting": recipes.Boosting(bins=6, folds=2, rounds=15, least_in_leaf=5),
    "lstm-basic": recipes.LstmBasic(bins=6, folds=2, epochs=2, batch=32),
    "discrete-time-survival": recipes.DiscreteTimeSurvival(folds=2, epochs=20, intervals=6, hidden=4),
    "linear-survival": recipes.LinearSurvival(folds=2, epochs=20, intervals=6),
}


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    """One thread, and no seconds spent on measuring how long a step takes: nobody sets minutes here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(plan, "MEASURED_S", 0.01)
        yield
    torch.set_num_threads(before)


def data_for(name: str) -> SequenceSet:
    return survival_set() if name.endswith("survival") else binary_set()


def trained(name: str, data: SequenceSet | None = None, seed: int = 0) -> NewVersion:
    return trainer.train(Session.local(data or data_for(name), SMALL[name], seed))


@pytest.fixture(scope="module")
def stacked(_quick: None) -> NewVersion:
    return trained("stack")


@pytest.fixture(scope="module")
def timed(_quick: None) -> NewVersion:
    return trained("discrete-time-survival")


def from_parent(data: SequenceSet, recipe: recipes.SequenceRecipe, parent: ModelVersion, seed: int = 0) -> NewVersion:
    session = Session.local(data, recipe, seed)
    session.parent = parent
    return trainer.train(session)


def shelved(made: NewVersion, folder: Path) -> ModelVersion:
    for name, content in made.files.items():
        (folder / name).write_bytes(content)
    digest = hashlib.sha256(made.files["weights.safetensors"]).hexdigest()
    manifest = json.loads(json.dumps({**made.manifest, "weights": {"sha256": digest}}))
    return ModelVersion("m", 1, "prediction", folder, manifest)


def test_every_recipe_of_the_kind_is_tried_here() -> None:
    assert set(SMALL) == set(recipes.RECIPES)
    assert next(iter(recipes.RECIPES)) == "stack"


@pytest.mark.parametrize("name", ["gru-d", "bilstm", "boosting", "lstm-basic", "linear-survival"])
def test_every_recipe_makes_a_version_that_answers(name: str, tmp_path: Path) -> None:
    made = trained(name)
    assert made.manifest["recipe"]["name"] == name
    Contract.read(made.manifest["contract"])
    loaded = ensemble.load(shelved(made, tmp_path))
    data = data_for(name)
    batch = loaded.encoder.encode_set(data, data.part(2))
    found = loaded.predict(batch)
    assert ((found.probability > 0) & (found.probability < 1)).all()
    rows, last = np.arange(len(batch)), ensemble.last_visit(batch)
    assert loaded.over_time(batch)[rows, last] == pytest.approx(found.probability[:, 0], abs=1e-6)


def test_a_version_answers_from_its_files_as_it_did_in_the_test_part(stacked: NewVersion, tmp_path: Path) -> None:
    """Given the files alone, then the risks of the test part are those in cases.npz, and the members' span holds."""
    loaded = ensemble.load(shelved(stacked, tmp_path))
    assert isinstance(loaded, RiskEnsemble)
    data = binary_set()
    test = data.part(2)
    found = loaded.predict(loaded.encoder.encode_set(data, test))
    cases = Cases.read(stacked.files["cases.npz"])
    assert found.probability[np.argsort(data.key[test]), 0] == pytest.approx(cases.columns["p"], abs=1e-6)
    assert found.members.shape == (2, len(test), 1)
    assert stacked.manifest["metrics"]["test"]["n"] == len(test)
    assert stacked.manifest["metrics"]["test"]["auc"]["value"] > 0.7
    assert sum(map(len, stacked.files.values())) < 5_000_000
    words = f"AUC {stacked.manifest['metrics']['test']['auc']['value']:.3f}"
    assert words in stacked.files["roc.svg"].decode()
    assert "calibration.svg" in stacked.files


def test_the_manifest_says_what_the_system_reads(stacked: NewVersion) -> None:
    manifest = stacked.manifest
    json.dumps(manifest, allow_nan=False)
    assert manifest["groups"] == {"Age band": ["0 to 44", "45 to 64", "65 to 79", "80 and over"], "Sex": ["F", "M"]}
    assert manifest["baseline"]["name"] == "lstm-basic"
    assert "boosting" in manifest["baseline"]["others"]
    assert {"value", "low", "high"} == set(manifest["baseline"]["others"]["boosting"]["gain"]["auc"])
    assert manifest["contract"]["horizon"] == 48
    assert manifest["contract"]["outcome"] == {"kind": "binary", "name": "death", "horizons": []}
    assert 0 < manifest["labels"][0]["threshold"] < 1
    assert {"Sex=F", "Sex=M", "Age band=45 to 64"} <= set(manifest["metrics"]["subgroups"])


def test_the_networks_logit_is_their_weighted_mean_and_has_a_gradient(stacked: NewVersion, tmp_path: Path) -> None:
    """Given the stack's logit without what the trees add, then it is the differentiable one."""
    loaded = ensemble.load(shelved(stacked, tmp_path))
    assert isinstance(loaded, RiskEnsemble)
    data = binary_set()
    batch = loaded.encoder.encode_set(data, data.part(2))
    parted = loaded.parted(batch).mean(axis=0)
    networks = [loaded.parts.index(part) for part in loaded.networks]
    assert loaded.logit(batch).detach().numpy() == pytest.approx(
        parted[:, networks] @ loaded.weights[1:][networks], abs=1e-5
    )
    value = batch.value.clone().requires_grad_()
    loaded.logit(replace(batch, value=value)).sum().backward()
    assert value.grad is not None
    assert float(value.grad.abs().max()) > 0
    assert float(loaded.baseline(batch).value.abs().max()) == 0
    assert torch.equal(loaded.baseline(batch).mask, batch.mask)


def test_the_test_part_decides_nothing_and_equal_seeds_give_equal_weights(stacked: NewVersion) -> None:
    """Given the data without its test part, then weights and trees are the same bytes, and no figure is claimed."""
    data = binary_set()
    without = trained("stack", data.take(data.split != 2))
    fixed = [name for name in stacked.files if name not in ("cases.npz", "calibration.svg", "roc.svg")]
    assert {name: without.files[name] for name in fixed} == {name: stacked.files[name] for name in fixed}
    assert without.manifest["metrics"]["test"] is None
    assert set(without.files) == set(fixed)
    other = trained("stack", seed=1)
    assert other.files["weights.safetensors"] != stacked.files["weights.safetensors"]


class Watched(LocalWork):
    """Ends the job when a progress message holds `until`."""

    until = "never"

    def step(self) -> None:
        if any(self.until in message for _, _, message in self.said):
            raise Stop


def test_trees_move_the_fraction_and_a_cancel_among_them_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "EVERY_S", 0.0)
    work = Watched(0)
    trainer.train(Session.local(binary_set(), SMALL["boosting"], 0, work=work))
    told = [(fraction, message) for fraction, _, message in work.said if "trees" in message]
    assert [message for _, message in told] == [f"boosting-{m}, {n} of 15 trees" for m in (0, 1) for n in range(1, 16)]
    fractions = [fraction for fraction, _ in told]
    assert 0 < fractions[0] < fractions[14] < fractions[29] < 1
    assert fractions == sorted(fractions)
    cancelled = Watched(0)
    cancelled.until = "boosting-1, 4 of"
    with pytest.raises(Stop):
        trainer.train(Session.local(binary_set(), SMALL["boosting"], 0, work=cancelled))
    assert cancelled.said[-1][2] == "boosting-1, 4 of 15 trees"
    evaluated = Watched(0)
    evaluated.until = "the test part"
    with pytest.raises(Stop):
        trainer.train(Session.local(binary_set(), SMALL["boosting"], 0, work=evaluated))


def test_the_horizon_is_that_of_the_fitting_part() -> None:
    """Given test patients who were followed twice as long, then the model still reads 48 hours."""
    data = binary_set()
    late = np.where(np.isin(data.subject, data.part(2)), 2 * data.time, data.time)
    assert trained("boosting", replace(data, time=late)).manifest["contract"]["horizon"] == 48


def test_a_survival_version_tells_curve_course_and_landmarks(timed: NewVersion, tmp_path: Path) -> None:
    loaded = ensemble.load(shelved(timed, tmp_path))
    assert isinstance(loaded, SurvivalEnsemble)
    data = survival_set()
    batch = loaded.encoder.encode_set(data, data.part(2))
    found = loaded.predict(batch)
    assert found.survival is not None
    assert found.course is not None
    assert (found.survival.curve[:, 0] == 1).all()
    assert (np.diff(found.survival.curve, axis=1) <= 1e-12).all()
    assert (np.diff(found.probability, axis=1) >= 0).all()
    assert found.course[0]["variable"] == "Lactate"
    manifest = timed.manifest
    assert manifest["metrics"]["test"]["c_index"]["value"] > 0.7
    assert manifest["metrics"]["landmarks"]["0"] == manifest["metrics"]["mean"]
    assert f"by {loaded.horizons[-1]:g} years" in timed.files["calibration.svg"].decode()
    assert manifest["baseline"]["name"] == "linear-survival"
    assert manifest["contract"]["outcome"]["horizons"] == loaded.horizons.tolist()
    assert manifest["contract"]["horizon"] is None
    rows, last = np.arange(len(batch)), ensemble.last_visit(batch)
    assert loaded.over_time(batch)[rows, last] == pytest.approx(found.probability[:, 0], abs=1e-6)


def test_one_patients_subjects_stand_in_one_inner_fold_and_others_where_they_stood() -> None:
    data = binary_set(60)
    rows = np.arange(60)
    alone = members.inner_folds(data, rows, 5)
    assert alone.tolist() == (data.key % np.uint64(5)).tolist()
    assert members.inner_folds(replace(data, patient=data.key), rows, 5).tolist() == alone.tolist()
    pairs = replace(data, patient=np.repeat(data.key[::2], 2))
    assert members.inner_folds(pairs, rows, 5).tolist() == np.repeat(alone[::2], 2).tolist()


def test_the_cases_of_a_version_know_their_patients(stacked: NewVersion) -> None:
    """Given patients with two subjects each, then cases.npz holds them; where each is its own, it holds none."""
    assert Cases.read(stacked.files["cases.npz"]).patient is None
    data = binary_set()
    whose = np.where(data.split == 2, data.key // np.uint64(2**62), data.key)
    made = trained("boosting", replace(data, patient=whose))
    found = Cases.read(made.files["cases.npz"])
    assert found.patient is not None
    assert sorted(found.patient.tolist()) == sorted(whose[data.split == 2].tolist())


def test_the_outcome_chooses_where_nothing_was_asked_for_and_a_misfit_is_refused_by_name() -> None:
    assert trainer.fitting(recipes.Stack(), survival_set(30)) == recipes.DiscreteTimeSurvival()
    assert trainer.fitting(recipes.Stack(bins=12), binary_set(30)) == recipes.Stack(bins=12)
    with pytest.raises(InputError, match=r"gru-d is not for this data set.*take discrete-time-survival, linear-surv"):
        trainer.fitting(recipes.GruD(), survival_set(30))
    with pytest.raises(InputError, match=r"discrete-time-survival is not for this data set.*yes or no: take stack"):
        trainer.fitting(recipes.DiscreteTimeSurvival(), binary_set(30))


def test_a_misfit_is_known_from_the_data_sets_facts_alone() -> None:
    """Given what a data set's result says, then a training that cannot be is refused before it is a job."""
    timed = {"outcome": {"kind": "survival", "name": "death"}, "variables": {"HR": {}, "Lactate": {}}}
    assert recipes.DiscreteTimeSurvival(course="Lactate").misfit(timed) is None
    assert recipes.Stack().misfit(timed) is None
    assert recipes.Stack().misfit({}) is recipes.LinearSurvival().misfit({}) is None
    assert "take discrete-time-survival" in (recipes.Stack(bins=12).misfit(timed) or "")
    assert "not a variable" in (recipes.LinearSurvival(course="Bilirubin").misfit(timed) or "")
    assert "take stack" in (recipes.LinearSurvival().misfit({"outcome": {"kind": "binary"}, "variables": {}}) or "")
    asked = {"kind": "prediction", "dataset": "mine", "recipe": "linear-survival", "overrides": {"course": "X"}}
    params = TrainingParams.model_validate(asked)
    ((field, says),) = params.check_references({"dataset": {"format": "sequences", "facts": timed}}, {})
    assert (field, "not a variable" in says) == ("dataset", True)


def test_an_unknown_course_and_durations_of_nothing_are_refused_before_any_fit() -> None:
    data = survival_set()
    for error, says, recipe, on in [
        (InputError, "not a variable", recipes.LinearSurvival(course="Bilirubin"), data),
        (DatasetInvalid, "ends at time 0", recipes.LinearSurvival(), replace(data, duration=0 * data.duration)),
        (DatasetInvalid, "Hardly any event", recipes.LinearSurvival(), replace(data, time=data.time + 100)),
    ]:
        session = Session.local(on, recipe, 0)
        with pytest.raises(error, match=says):
            trainer.train(session)
        with pytest.raises(ValueError, match="call plan"):
            _ = session.planned
    for bad in ((-1.0,), (0.0,), ()):
        with pytest.raises(ValidationError, match="horizons"):
            recipes.LinearSurvival(horizons=bad)


def test_first_visits_that_are_not_at_time_zero_are_where_the_figures_begin(timed: NewVersion) -> None:
    """Given the same set with all times and durations later by .01, then the C-index is over the same subjects."""
    data = survival_set()
    later = replace(data, time=data.time + 0.01, duration=data.duration + np.float32(0.01))
    found = trained("linear-survival", later).manifest["metrics"]
    same = trained("linear-survival", data).manifest["metrics"]
    assert found["test"]["n"] == same["test"]["n"] == len(data.part(2))
    assert found["test"]["c_index"]["value"] == pytest.approx(same["test"]["c_index"]["value"], abs=0.02)
    assert found["landmark"] == "each subject's first visit"
    assert "0" not in found["landmarks"]
    assert "each subject's first visit" in timed.manifest["card"]["intended_use"]


def test_one_visit_each_gives_risks_and_no_course(tmp_path: Path) -> None:
    data = survival_set()
    first = data.time == 0
    once = replace(
        data, subject=data.subject[first], time=data.time[first], variable=data.variable[first], value=data.value[first]
    )
    made = trainer.train(
        Session.local(once, SMALL["linear-survival"].model_copy(update={"epochs": 40, "learning_rate": 0.05}), 0)
    )
    assert made.manifest["course"] is made.manifest["contract"]["course"] is None
    assert "course" not in made.manifest["metrics"]
    assert made.manifest["metrics"]["test"]["c_index"]["value"] > 0.7
    loaded = ensemble.load(shelved(made, tmp_path))
    found = loaded.predict(loaded.encoder.encode_set(once, once.part(2)))
    assert found.course is None
    assert Contract.read(made.manifest["contract"]).course is None


def test_horizons_are_told_in_order_and_once() -> None:
    recipe = SMALL["linear-survival"].model_copy(update={"horizons": (4.0, 1.0, 4.0), "epochs": 1})
    made = trainer.train(Session.local(survival_set(), recipe, 0))
    assert made.manifest["contract"]["outcome"]["horizons"] == [1.0, 4.0]


def test_too_few_outcomes_are_refused() -> None:
    with pytest.raises(DatasetInvalid, match="at least 20 subjects with and without"):
        trained("stack", binary_set(30))


STILL = {"epochs": 1, "learning_rate": 1e-9}
"""So small a step that a network stays where it began."""


@pytest.mark.parametrize("name", ["gru-d", "discrete-time-survival"])
def test_each_network_starts_from_the_parents_of_its_fold(name: str, tmp_path: Path) -> None:
    """Given hardly any learning and other subjects, then networks and encoder are the parent's."""
    parent = shelved(trained(name), tmp_path)
    other = survival_set(seed=5) if name.endswith("survival") else binary_set(seed=5)
    recipe = SMALL[name].model_copy(update=STILL)
    made = from_parent(other, recipe, parent)
    alone = trainer.train(Session.local(other, recipe, 0))
    kept, drawn = (json.loads(json.dumps(one.manifest["encoder"])) for one in (made, alone))
    assert kept == parent.manifest["encoder"] != drawn
    theirs, mine, fresh = (
        safetensors.torch.load(one["weights.safetensors"])
        for one in ({"weights.safetensors": (tmp_path / "weights.safetensors").read_bytes()}, made.files, alone.files)
    )
    networks = [key for key in theirs if key.startswith(f"{parent.manifest['network']['name']}.")]
    assert networks
    assert all(torch.allclose(mine[key], theirs[key], atol=1e-6) for key in networks)
    assert not all(torch.allclose(fresh[key], theirs[key], atol=1e-3) for key in networks)


def test_a_parent_that_does_not_fit_is_refused_by_name(timed: NewVersion, tmp_path: Path) -> None:
    (tmp_path / "risk").mkdir()
    (tmp_path / "survival").mkdir()
    risk, survival = shelved(trained("gru-d"), tmp_path / "risk"), shelved(timed, tmp_path / "survival")
    data, gru = binary_set(), SMALL["gru-d"]
    for says, recipe, parent, on in [
        ("other variables", gru, risk, replace(data, variables=("HR", "Other", "Never"))),
        ("another unit of time", gru, risk, replace(data, unit="days")),
        ("6 bins to 48 hours", gru.model_copy(update={"bins": 8}), risk, data),
        ("2 networks of the architecture gru-d.*trains 3", gru.model_copy(update={"folds": 3}), risk, data),
        ("0 networks of the architecture bilstm", SMALL["bilstm"], risk, data),
        ("gru-d has other sizes", gru.model_copy(update={"hidden": 7}), risk, data),
        ("trees are made anew", SMALL["boosting"], risk, data),
        ("at an unknown time", gru, survival, data),
        ("is yes or no", SMALL["discrete-time-survival"], risk, survival_set()),
        ("6 intervals", SMALL["discrete-time-survival"].model_copy(update={"intervals": 7}), survival, survival_set()),
    ]:
        with pytest.raises(InputError, match=says):
            from_parent(on, recipe, parent)


def test_damaged_files_are_refused(stacked: NewVersion, tmp_path: Path) -> None:
    version = shelved(stacked, tmp_path)
    (tmp_path / "trees-0.txt").write_text("tree")
    with pytest.raises(ModelUnusable, match=r"trees-0.txt differs"):
        ensemble.load(version)
    (tmp_path / "trees-0.txt").unlink()
    with pytest.raises(ModelUnusable, match="cannot be read"):
        ensemble.load(version)
