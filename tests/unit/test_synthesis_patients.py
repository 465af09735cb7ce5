"""Virtual patients: what the networks draw, how it becomes measurements, and that the prediction kind reads them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jobs.errors import DatasetInvalid, ExportRefused, InputError, LimitExceeded, ModelUnusable
from jobs.predicting import ModelVersion
from jobs.results import Report
from jobs.training import NewVersion
from models.data.canonical import TRAIN, SequenceSet
from models.data.formats import sequences
from models.data.options import BinaryOutcome, SequencesOptions
from models.prediction.contract import Contract
from models.prediction.encoding import Encoder, Scale
from models.prediction.patients import parse
from models.prediction.splitting import split
from models.prediction.version import contract
from models.synthesis import patient_figures, sequence_trainer, trainer, virtual_patients
from models.synthesis.emission import Emission, Habit, digits, written
from models.synthesis.kind import SynthesisItem, SynthesisParams
from models.synthesis.mmd import Discrepancy
from models.synthesis.patient_export import as_patients, jsons, tables
from models.synthesis.recipes import SynthesisRecipe
from models.synthesis.report import render
from models.synthesis.runner import run
from models.synthesis.sequence_networks import Course, SequenceGan, Sizes, Start, summary
from models.synthesis.sequence_recipes import SequenceGanRecipe
from models.synthesis.sequence_task import PatientGanTask, course
from models.synthesis.tables import usefulness as use_rows
from models.synthesis.virtual_patients import PatientGenerator, from_manifest, named
from models.training import plan
from models.training.local import LocalWork
from models.training.session import Session
from tests.diagnosis_data import bright_or_dark
from tests.sequence_sets import binary_set, survival_set

SMALL = SequenceGanRecipe(bins=6, hidden=8, noise=4, epochs=2, batch=16, checked=60, judge_rounds=10)


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    """One thread, and no seconds spent on measuring how long a step takes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(plan, "MEASURED_S", 0.01)
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def real() -> SequenceSet:
    return binary_set(360)


@pytest.fixture(scope="module")
def made(real: SequenceSet) -> NewVersion:
    return sequence_trainer.train(Session.local(real, SMALL, seed=0))


@pytest.fixture(scope="module")
def generator(made: NewVersion) -> PatientGenerator:
    return from_manifest(made.files["weights.safetensors"], made.manifest)


def small_gan(seed: int = 0) -> tuple[SequenceGan, Sizes]:
    sizes = Sizes(variables=3, statics=2, bins=5, hidden=8, noise=4)
    torch.manual_seed(seed)
    return SequenceGan(sizes, levels=[torch.empty(0), torch.tensor([-1.0, 1.0])]), sizes


def test_a_course_has_values_only_where_it_was_measured_and_codes_only_at_their_levels() -> None:
    gan, sizes = small_gan()
    drawn = gan.generator(sizes.draw(50, torch.Generator().manual_seed(0)), torch.arange(50) % 2)
    assert set(drawn.mask.unique().tolist()) == {0.0, 1.0}
    assert (drawn.value[drawn.mask == 0] == 0).all()
    assert (drawn.static[drawn.known == 0] == 0).all()
    assert set(drawn.static[:, 1].detach().numpy().round(5).tolist()) <= {-1.0, 0.0, 1.0}
    assert drawn.value.abs().max() <= 6


def test_every_weight_of_the_generator_gets_a_gradient_through_masks_and_codes() -> None:
    gan, sizes = small_gan()
    y = torch.arange(20) % 2
    gan.discriminator(gan.generator(sizes.draw(20, torch.Generator().manual_seed(0)), y), y).sum().backward()
    for name, weight in gan.generator.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


def test_each_outcome_starts_with_the_shares_and_the_means_of_its_training_patients() -> None:
    """Given patients of whom those with the outcome are measured more often and higher, then a network that has learnt
    nothing draws them so."""
    random = torch.Generator().manual_seed(1)
    y = torch.arange(2000) % 2
    often, high = torch.tensor([0.2, 0.7])[y], torch.tensor([-1.0, 1.5])[y]
    mask = (torch.rand(2000, 5, 3, generator=random) < often[:, None, None]).float()
    value = (high[:, None, None] + torch.randn(2000, 5, 3, generator=random)) * mask
    known = (torch.rand(2000, 2, generator=random) < 0.5).float()
    static = (high[:, None] + 0 * known) * known
    torch.manual_seed(0)
    sizes = Sizes(3, 2, 5, hidden=8, noise=4)
    gan = SequenceGan(sizes, Start.of(Course(value, mask, static, known), y, 2))
    for layer in (gan.generator.level, gan.generator.leave, gan.generator.static):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    drawn = gan.generator(sizes.draw(4000, torch.Generator().manual_seed(0)), torch.arange(4000) % 2)
    for label in (0, 1):
        one = Course(*(part[label::2].detach() for part in drawn))
        assert torch.allclose(one.mask.mean(dim=0), mask[y == label].mean(dim=0), atol=0.04)
        assert float(one.value[one.mask > 0].mean()) == pytest.approx([-1.0, 1.5][label], abs=0.1)
        assert float(one.known.mean()) == pytest.approx(0.5, abs=0.05)
        assert float(one.static[one.known > 0].mean()) == pytest.approx([-1.0, 1.5][label], abs=0.05)


def test_a_summary_is_what_one_would_note_by_hand() -> None:
    """One variable over four bins: 2 in the first, -1 in the third. A second one never measured."""
    value = torch.tensor([[[2.0, 0.0], [0.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]])
    mask = torch.tensor([[[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]])
    none = torch.zeros(1, 0)
    share, mean, low, high, last = summary(Course(value, mask, none, none)).reshape(5, 2).tolist()
    assert share == [0.5, 0.0]
    assert mean == [0.5, 0.0]
    assert (low, high, last) == ([-1.0, 0.0], [2.0, 0.0], [-1.0, 0.0])


def test_the_discrepancy_is_about_nought_for_the_same_class_and_large_for_the_other() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(900, 4, generator=random) + torch.repeat_interleave(torch.tensor([0.0, 3.0]), 450)[:, None]
    y = torch.repeat_interleave(torch.tensor([0, 1]), 450)
    found = Discrepancy.fit(x[::2], y[::2], 2, 400)
    assert abs(float(found(x[1::2], y[1::2]))) < 0.05
    assert float(found(x[1::2], 1 - y[1::2])) > 0.5


def test_the_discrepancy_is_worked_out_by_hand_for_two_cases() -> None:
    """Real z-scores -a and a with a = 0.7071: squares less 1 are -0.5, products 0.5. The drawn ones lie on them."""
    x, y = torch.tensor([[0.0], [1.0]]), torch.zeros(2, dtype=torch.long)
    found = Discrepancy.fit(x, y, 1, 10)
    gaussian = float(torch.exp(-2 / found.median[0] / torch.tensor([0.2, 0.5, 1.0, 2.0, 5.0])).mean())
    apart, same = gaussian - 0.5 + 0.25 + 3 * 0.25, 1 + 0.5 + 0.25 + 3 * 0.25
    assert found.within[0] == pytest.approx(apart)
    assert float(found(x, y)) == pytest.approx(apart - 2 * (apart + same) / 2 + apart, abs=1e-5)


def test_decimals_are_those_that_the_values_have() -> None:
    assert digits(np.array([1.0, 80.0, 1e6])) == 0
    assert digits(np.array([36.6, 37.1, 38.0], dtype=np.float32).astype(np.float64)) == 1
    assert digits(np.array([7.35, 7.4])) == 2
    assert digits(np.array([1 / 3])) == 3
    assert digits(np.empty(0)) == 0


def test_values_are_written_within_the_limits_and_in_the_data_sets_unit() -> None:
    scale = Scale("Temp", 25, 45, "deg C", None, 37.0, 0.8)
    assert written(scale, np.array([0.0, 1.0, 40.0]), 1).tolist() == [37.0, 37.8, 45.0]


def test_a_bin_holds_as_many_measurements_as_the_habit_says_around_its_mean() -> None:
    encoder = Encoder("hours", 4.0, 2, (Scale("HR", 0, 300, None, None, 80, 10),), ())
    emission = Emission((Habit((0.0, 0.0, 1.0), 0.5, 0),), (), ())
    value, mask = np.array([[0.0], [3.0]]), np.array([[0.0], [1.0]])
    time, variable, raw = emission.measurements(value, mask, encoder, np.random.default_rng(0))
    assert len(time) == 3
    assert ((time >= 2) & (time <= 4)).all()
    assert (np.diff(time) >= 0).all()
    assert variable.tolist() == [0, 0, 0]
    assert raw.mean() == pytest.approx(110, abs=0.5)
    assert raw.std() > 0


def test_habits_are_read_off_the_data() -> None:
    """Each bin of the one variable has two values, 2 apart: their range is 1.128 deviations in the mean."""
    count, bins = 50, 4
    time = np.tile(np.repeat(np.arange(bins) + 0.25, 2), count)
    value = np.tile([81.0, 83.0], count * bins).astype(np.float32)
    data = SequenceSet(
        split=np.zeros(count, np.uint8), key=np.arange(count, dtype=np.uint64), fold=np.zeros(count, np.uint8),
        subject=np.repeat(np.arange(count, dtype=np.int32), 2 * bins), time=time,
        variable=np.zeros(len(time), np.int16), value=value, variables=("HR",),
        static=np.tile([[1.0], [2.0]], (count // 2, 1)).astype(np.float32), statics=("Sex",), outcome="o", unit="hours",
        label=np.zeros(count, np.float32),
    )  # fmt: skip
    encoder = replace(
        Encoder.fit(data, np.arange(count), 4.0, bins), variables=(Scale("HR", 0, 300, None, None, 80, 1),)
    )
    found = Emission.fit(data, np.arange(count), encoder)
    assert found.habits[0].counts == (0.0, 1.0)
    assert found.habits[0].scatter == pytest.approx(2 / 1.128, abs=1e-3)
    assert found.levels == ((1.0, 2.0),)
    assert Emission.read(json.loads(json.dumps(found.as_dict()))) == found


def test_a_batch_of_training_has_as_many_patients_of_each_outcome(real: SequenceSet) -> None:
    rows = real.part(TRAIN)
    encoder = Encoder.fit(real, rows, 48.0, 6)
    batch, y = encoder.encode_set(real, rows), torch.from_numpy(real.label[rows].astype(np.int64))
    task = PatientGanTask(batch, y, batch, y, [torch.empty(0)] * 2, SMALL)
    found = task.batch(torch.arange(16), torch.Generator().manual_seed(0))
    assert found["y"].tolist() == [0, 1] * 8
    ill = {part.numpy().tobytes() for part in course(batch).value[y == 1]}
    assert [part.numpy().tobytes() in ill for part in found["real"]["value"]] == [False, True] * 8


def test_a_version_says_all_figures_and_its_card_as_well(made: NewVersion) -> None:
    manifest = made.manifest
    assert set(manifest["privacy"]["attacks"]) == {"domias", "reconstruction", "discriminator"}
    assert manifest["usefulness"]["classifier"] == "boosting"
    assert manifest["usefulness"]["part"] == "test"
    assert manifest["quality"]["generated"]["n"] == manifest["quality"]["floor"]["n"]
    assert manifest["gate"]["passed"] is (not manifest["gate"]["failures"])
    assert manifest["metrics"]["test"]["auc"] == manifest["usefulness"]["tstr"]
    assert b"TSTR" in made.files["card.md"]
    assert made.files["sheet.png"][:4] == b"\x89PNG"
    json.dumps(manifest)


def test_a_copula_stands_beside_the_network_with_the_same_figures(made: NewVersion) -> None:
    """On patients that differ in two numbers it is the better one, and the tables say so."""
    manifest = made.manifest
    beside = manifest["baseline"]
    assert beside["name"] == "gaussian-copula"
    assert set(manifest["metrics"]["mean"]) - set(beside["mean"]) == {"membership_auc_discriminator"}
    assert beside["usefulness"]["trtr"] == manifest["usefulness"]["trtr"], "the same risk models on real patients"
    assert beside["usefulness"]["tstr"]["value"] > manifest["usefulness"]["tstr"]["value"]
    assert beside["beaten"] is False
    assert "trained on those of gaussian-copula (TSTR)" in [row[0] for row in use_rows(manifest)]
    assert "domias, on gaussian-copula" in made.files["card.md"].decode()


def test_equal_seeds_make_equal_versions_and_the_test_part_changes_no_weight(
    real: SequenceSet, made: NewVersion
) -> None:
    again = sequence_trainer.train(Session.local(real.take(real.split != 2), SMALL, seed=0))
    assert again.files["weights.safetensors"] == made.files["weights.safetensors"]
    assert again.manifest["usefulness"]["part"] == "validation"
    assert again.manifest["metrics"]["test"] is None
    other = sequence_trainer.train(Session.local(real, SMALL, seed=1))
    assert other.files["weights.safetensors"] != made.files["weights.safetensors"]


def test_a_patient_depends_on_seed_outcome_and_place_alone(generator: PatientGenerator) -> None:
    many = list(as_patients(generator.draw([0, 1] * 40, range(80), 5)))
    assert many[70:71] == list(as_patients(generator.draw([0], [70], 5)))
    assert many[:1] != list(as_patients(generator.draw([1], [0], 5)))
    assert many[:1] != list(as_patients(generator.draw([0], [0], 6)))
    assert list(as_patients(generator.draw([], [], 5))) == []


def test_the_prediction_kind_reads_every_patient_without_a_note(generator: PatientGenerator) -> None:
    outcome = {"kind": "binary", "name": "death", "horizons": []}
    takes = Contract.read(contract(generator.encoder, outcome, None))
    for one in as_patients(generator.draw([0, 1] * 10, range(20), 3)):
        read = parse(json.loads(json.dumps(one)), takes)
        assert len(read.observations) <= len(one["observations"])
        assert not [note for note in read.notes if "left out" in note or "nearest" in note]


def test_tables_are_read_by_the_prediction_kind_and_as_a_data_set(generator: PatientGenerator, tmp_path: Path) -> None:
    drawn = generator.draw([0, 1] * 6, range(12), 3)
    names = [named(3, n % 2, n) for n in range(12)]
    with zipfile.ZipFile(io.BytesIO(tables(drawn, names))) as archive:
        archive.extractall(tmp_path)
    assert "SYNTHETIC" in (tmp_path / "README.txt").read_text()
    patients = list(split(tmp_path / "patients.csv"))
    assert len(patients) == 12
    options = SequencesOptions(
        id="id", time="time", variable="variable", value="value", unit="hours", outcome=BinaryOutcome(column="death")
    )
    read = sequences.read([tmp_path / "observations.csv", tmp_path / "subjects.csv"], options)
    assert read.label is not None
    assert read.label.tolist() == [0, 1] * 6
    assert np.array_equal(np.sort(read.value), np.sort(drawn.value))
    assert np.allclose(read.static, drawn.static, equal_nan=True)
    with (tmp_path / "subjects.csv").open() as file:
        assert next(csv.reader(file)) == ["id", "Age", "Sex", "death"]


def test_each_patient_is_a_file_named_synthetic(generator: PatientGenerator) -> None:
    content = jsons(generator.draw([1], [4], 9), [named(9, 1, 4)])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["README.txt", "SYNTHETIC-9-1-00005.json"]
        assert set(json.loads(archive.read("SYNTHETIC-9-1-00005.json"))) == {"static", "observations"}


def test_real_patients_as_drawn_ones_are_at_the_floor_and_useful(real: SequenceSet) -> None:
    """A second set of the same making: nothing is lost by training on it, and it covers the first."""
    fresh = binary_set(360, seed=1)
    encoder = Encoder.fit(real, np.arange(len(real)), 48.0, 6)
    batches = [encoder.encode_set(one, np.arange(len(one))) for one in (fresh, real)]
    labels = [one.label.astype(np.int64) for one in (fresh, real)]
    good = patient_figures.quality(batches[0], labels[0], batches[1], labels[1])
    assert good.generated.coverage.coverage == pytest.approx(good.floor.coverage.coverage, abs=0.08)
    (useful,) = patient_figures.usefulness([fresh], real, binary_set(300, seed=2), encoder, 40, seeds=(0,))
    assert useful.trtr.value > 0.7
    assert abs(useful.drop.value) < 0.05
    wrong = replace(fresh, label=1 - fresh.label)
    (useless,) = patient_figures.usefulness([wrong], real, binary_set(300, seed=2), encoder, 40, seeds=(0,))
    assert useless.tstr.value < 0.3


def test_repeated_training_patients_are_caught_and_fresh_ones_are_not(real: SequenceSet) -> None:
    encoder = Encoder.fit(real, np.arange(len(real)), 48.0, 6)
    fresh, unseen = binary_set(360, seed=1), binary_set(360, seed=2)
    train, drawn, others = (encoder.encode_set(one, np.arange(len(one))) for one in (real, fresh, unseen))
    y = real.label.astype(np.int64)
    for made_of, caught in ((drawn, False), (train, True)):
        found = patient_figures.private(made_of, train, y, others, y, None)
        for one in found.attacks.values():
            assert (one.auc.low > 0.6) is caught
        assert all(one.auc.low > 0.6 for one in found.control.values())


def test_a_time_to_an_event_and_too_few_patients_are_refused() -> None:
    with pytest.raises(InputError, match="yes or no"):
        sequence_trainer.train(Session.local(survival_set(), SMALL, seed=0))
    with pytest.raises(DatasetInvalid, match="20 training patients of each outcome"):
        sequence_trainer.train(Session.local(binary_set(60), SMALL, seed=0))


def test_weights_that_do_not_fit_are_an_error(made: NewVersion) -> None:
    config = {**made.manifest["network"]["config"], "hidden": 9}
    with pytest.raises(RuntimeError):
        virtual_patients.from_manifest(
            made.files["weights.safetensors"], {**made.manifest, "network": {"name": "sequence-gan", "config": config}}
        )


def version(folder: Path, made: NewVersion, **changes: object) -> ModelVersion:
    """The trained generator on disk, past its gate unless `changes` say otherwise."""
    content = made.files["weights.safetensors"]
    (folder / "weights.safetensors").write_bytes(content)
    gate = {**made.manifest["gate"], "passed": True, "failures": []}
    manifest = {**made.manifest, "gate": gate, **changes}
    return ModelVersion("virtual-patients", 1, "synthesis", folder, manifest)


class Job(LocalWork):
    """A job of a generator of patients."""

    def __init__(self, model: ModelVersion, seed: int = 7, **params: object) -> None:
        super().__init__(seed)
        self.params = SynthesisParams.model_validate(params)
        self.model = model


@pytest.mark.parametrize("form", ["npz", "json", "csv"])
def test_a_job_draws_the_patients_that_the_generator_draws(
    made: NewVersion, generator: PatientGenerator, tmp_path: Path, form: str
) -> None:
    done = run(Job(version(tmp_path, made), count=130, format=form))
    item = SynthesisItem.model_validate(done.items[0])
    files = {one.name: one.content for one in done.artifacts}
    assert item.classes == {"no": 65, "yes": 65}
    assert hashlib.sha256(files[item.file]).hexdigest() == item.sha256
    assert files["sheet.png"][:4] == b"\x89PNG"
    wanted = generator.draw([0, 1] * 65, [n // 2 for n in range(130)], 7)
    if form == "npz":
        with np.load(io.BytesIO(files[item.file]), allow_pickle=False) as stored:
            assert np.array_equal(stored["value"], wanted.value)
            assert np.array_equal(stored["subject"], wanted.subject)
            assert stored["variables"].tolist() == list(wanted.variables)
    if form == "json":
        with zipfile.ZipFile(io.BytesIO(files[item.file])) as archive:
            last = json.loads(archive.read("SYNTHETIC-7-1-00065.json"))
        assert last == list(as_patients(wanted))[129]


def test_a_job_of_one_outcome_is_its_series(made: NewVersion, generator: PatientGenerator, tmp_path: Path) -> None:
    done = run(Job(version(tmp_path, made), count=3, **{"class": "yes"}))
    assert done.items[0]["classes"] == {"yes": 3}
    with np.load(io.BytesIO(done.artifacts[1].content), allow_pickle=False) as stored:
        assert stored["label"].tolist() == [1, 1, 1]
        assert np.array_equal(stored["value"], generator.draw([1, 1, 1], range(3), 7).value)


@pytest.mark.parametrize(
    ("params", "error", "said"),
    [
        ({"format": "dicom"}, InputError, "npz, json, csv"),
        ({"class": "perhaps"}, InputError, "no, yes"),
        ({"count": 5001}, LimitExceeded, "5,000 patients"),
    ],
)
def test_what_a_generator_of_patients_cannot_do_is_refused(
    made: NewVersion, tmp_path: Path, params: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        run(Job(version(tmp_path, made), **params))


def test_past_the_gate_goes_nothing_that_failed_it(made: NewVersion, tmp_path: Path) -> None:
    gate = {"passed": False, "failures": ["coverage is 0.100; at least 0.6 is asked for"]}
    with pytest.raises(ExportRefused, match=r"coverage is 0\.100"):
        run(Job(version(tmp_path, made, gate=gate), count=1))


def test_changed_weights_of_a_generator_of_patients_are_refused(made: NewVersion, tmp_path: Path) -> None:
    changed = version(tmp_path, made)
    (tmp_path / "weights.safetensors").write_bytes(made.files["weights.safetensors"] + b"x")
    with pytest.raises(ModelUnusable, match="differ from the manifest"):
        run(Job(changed, count=1))


def test_a_recipe_for_images_refuses_patients_and_the_other_way_round(real: SequenceSet) -> None:
    with pytest.raises(InputError, match="sequence-gan draws patients"):
        trainer.train(Session.local(real, SynthesisRecipe(), seed=0))
    with pytest.raises(InputError, match="sequence-gan draws patients"):
        trainer.train(Session.local(bright_or_dark(), SMALL, seed=0))


def test_the_report_of_a_job_speaks_of_patients(made: NewVersion, tmp_path: Path) -> None:
    model = version(tmp_path, made)
    done = run(Job(model, count=4))
    sheet = next(one.content for one in done.artifacts if one.name == "sheet.png")
    result = {"items": done.items, "provenance": {"seed": 7}, "model": {"name": model.name, "version": 1}}
    job = {"id": "1", "labels": {}, "created_at": "2026-01-01", "finished_at": "2026-01-02"}
    page = render(Report(job, result, lambda _: sheet, model.manifest))
    assert "its patients may leave the system" in page
    assert "trained on drawn patients (TSTR)" in page
    assert "4 patients (2 no, 2 yes)" in page
