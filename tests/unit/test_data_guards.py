"""Guards on sets with one planted defect each: it is found and counted, and its absence is not."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from jobs.errors import DatasetInvalid
from models.data import duplicates, guards, leaks, predictive, shortcuts, soundness, splitting
from models.data.canonical import AnySet, ImageSet, MoleculeSet, SequenceSet
from models.data.options import SequencesOptions
from models.data.problems import Notes

N = 400


def images(count: int = N, side: int = 28, seed: int = 0) -> ImageSet:
    random = np.random.default_rng(seed)
    return ImageSet(
        split=(np.arange(count) % 4 // 2).astype(np.uint8) + (np.arange(count) % 4 == 3),
        key=splitting.keys(map(str, range(count))),
        images=random.integers(0, 256, (count, side, side)).astype(np.uint8),
        labels=random.integers(0, 2, count),
        patient=np.arange(count),
        classes=("well", "ill"),
    )


def sequences(survival: bool = False, seed: int = 0) -> SequenceSet:
    """Four observations of each subject of two variables that know nothing, and one static column likewise."""
    random = np.random.default_rng(seed)
    event = random.integers(0, 2, N)
    outcome = (
        {"duration": random.exponential(5, N).astype(np.float32) + 4, "event": event.astype(np.uint8)}
        if survival
        else {"label": event.astype(np.float32)}
    )
    return SequenceSet(
        split=(np.arange(N) % 3).astype(np.uint8),
        key=splitting.keys(map(str, range(N))),
        subject=np.repeat(np.arange(N, dtype=np.int32), 4),
        time=np.tile(np.array([0.0, 0, 1, 1]), N),
        variable=np.tile(np.array([0, 1, 0, 1], np.int16), N),
        value=random.normal(size=4 * N).astype(np.float32),
        variables=("HR", "Temp"),
        static=random.normal(60, 9, (N, 1)).astype(np.float32),
        statics=("Age",),
        fold=splitting.folds(map(str, range(N))),
        outcome="dead" if survival else "relapse",
        unit="days",
        **outcome,
    )


def found(guard: object, *given: object) -> list[tuple[str, str, int]]:
    notes = Notes()
    guard(*given, notes)  # type: ignore[operator]
    return [(one["guard"], one["detail"], one["count"]) for one in notes.warnings]


@pytest.mark.parametrize("cases", [images(), sequences(), sequences(survival=True)])
def test_a_set_without_defects_passes_without_a_word(cases: AnySet) -> None:
    assert found(duplicates.find, cases) == []
    sites = {"Site": np.random.default_rng(7).integers(0, 60, N)}
    grouped = replace(cases, groups=sites, group_names={"Site": tuple(map(str, range(60)))})
    assert found(shortcuts.find, grouped) == []
    if isinstance(cases, SequenceSet):
        assert found(leaks.find, cases, frozenset({cases.outcome})) == []


def test_copies_between_and_inside_parts_are_counted() -> None:
    cases = images()
    train, validation = cases.part(0), cases.part(1)
    pixels = cases.images.copy()
    pixels[validation[:3]] = pixels[train[:3]]
    pixels[train[10:12]] = pixels[train[9]]
    labels = cases.labels.copy()
    labels[train[:12]], labels[validation[:3]] = 0, [0, 1, 0]
    told = found(duplicates.find, replace(cases, images=pixels, labels=labels))
    assert [(words.split(" cases")[0][:30], count) for _, words, count in told] == [
        ("The same", 3), ("Cases of train are exact copie", 2), ("The same image stands there un", 1),
    ]  # fmt: skip


def test_a_brighter_shifted_or_noisier_copy_is_near_and_another_image_is_not() -> None:
    smooth = np.stack(
        [np.sin(np.add.outer(np.arange(28) / (2 + n % 7), np.arange(28) / (3 + n % 5))) for n in range(N)]
    )
    cases = images()
    noise = np.random.default_rng(5).normal(0, 2, (N, 28, 28))
    pixels = (110 + 40 * smooth * np.random.default_rng(1).uniform(0.5, 1, (N, 28, 28)) + noise).clip(0, 255)
    train, test = cases.part(0), cases.part(2)
    pixels[test[0]] = (pixels[train[0]] * 1.2 + 10).clip(0, 255)
    pixels[test[1]] = pixels[train[1]] + noise[1]
    told = found(duplicates.find, replace(cases, images=pixels.astype(np.uint8)))
    assert [(count, "test nearly equal one of train" in words) for _, words, count in told] == [(2, True)]


def test_ten_thousand_images_are_compared_within_a_minute() -> None:
    begun = time.monotonic()
    assert found(duplicates.find, images(10_000, 32)) == []
    assert time.monotonic() - begun < 60


def test_copied_subjects_and_molecules_are_found() -> None:
    cases = sequences()
    values, static = cases.value.copy(), cases.static.copy()
    values[4:8], static[1] = values[0:4], static[0]  # Subject 0 is in training, subject 1 in validation.
    assert [count for *_, count in found(duplicates.find, replace(cases, value=values, static=static))] == [1]
    split, keys = np.array([0, 1, 2], np.uint8), splitting.keys("abc")
    labels = np.zeros((3, 1), np.float32)
    molecules = MoleculeSet(split=split, key=keys, smiles=("CC", "CCC", "CC"), labels=labels, targets=("t",))
    assert found(duplicates.find, molecules) == [("duplicates", "The same cases stand in train and in test.", 1)]


def courses(visits: np.ndarray, values: np.ndarray) -> SequenceSet:
    """Of N subjects five visits at `visits` (N, 5), each with the six values of `values` (N, 5, 6)."""
    return replace(
        sequences(),
        subject=np.repeat(np.arange(N, dtype=np.int32), 30),
        time=np.repeat(visits.ravel(), 6).astype(np.float64),
        variable=np.tile(np.arange(6, dtype=np.int16), N * 5),
        value=values.ravel().astype(np.float32),
        variables=tuple("abcdef"),
    )


def test_a_rounded_or_slightly_changed_patient_is_near_and_another_patient_is_not() -> None:
    # Given patients of whom no two are alike, visited whenever they came
    random = np.random.default_rng(6)
    visits, values = np.sort(random.uniform(0, 90, (N, 5))), random.normal(80, 20, (N, 5, 6))
    assert found(duplicates.find, courses(visits, values)) == []
    # When one of the test part is one of the training part with rounded values, and two others are one with three of
    # thirty values measured anew, visited half a minute later; a fourth has but the times of one
    train, validation, test = (np.flatnonzero(np.arange(N) % 3 == part) for part in range(3))
    for copy, original in ((test[0], train[0]), (test[1], train[1]), (validation[0], train[2]), (test[2], train[3])):
        visits[copy], values[copy] = visits[original], values[original]
    values[test[0]] = values[test[0]].round(1)
    for copy in (test[1], validation[0]):
        values[copy, :, 2][:3] += 9
        visits[copy] += 0.5 / 60 / 24
    values[test[2]] = random.normal(80, 20, (5, 6))
    # Then the first three are told, by part
    told = [(words.partition(" (")[0], count) for _, words, count in found(duplicates.find, courses(visits, values))]
    assert told == [
        ("Cases of validation nearly equal one of train", 1), ("Cases of test nearly equal one of train", 2),
    ]  # fmt: skip


def test_patients_who_share_only_what_many_have_are_not_alike() -> None:
    random = np.random.default_rng(6)
    usual = np.where(random.random((N, 5, 6)) < 0.9, 1.0, 0.0)  # A yes in nine of ten cells.
    told = [words for _, words, _ in found(duplicates.find, courses(np.tile(np.arange(5.0), (N, 1)), usual))]
    assert not any("nearly" in words for words in told)


def test_a_molecule_written_otherwise_is_a_copy_and_its_mirror_image_is_near() -> None:
    smiles = ("CCO", "C[C@H](N)C(=O)O", "CCCCCCCCCC", "OCC", "C[C@@H](N)C(=O)O", "CCCCCCCCCCC")
    split, keys = np.array([0, 0, 0, 2, 2, 2], np.uint8), splitting.keys("abcdef")
    molecules = MoleculeSet(split=split, key=keys, smiles=smiles, labels=np.zeros((6, 1), np.float32), targets=("t",))
    assert [(words.partition(" (")[0], count) for _, words, count in found(duplicates.find, molecules)] == [
        ("The same cases stand in train and in test.", 1), ("Cases of test nearly equal one of train", 1),
    ]  # fmt: skip


def test_the_outcome_under_another_name_is_found_by_its_values() -> None:
    cases = sequences()
    assert cases.label is not None
    told = found(leaks.find, replace(cases, static=cases.label[:, None], statics=("x7",)), frozenset())
    assert [(guard, "x7" in words) for guard, words, _ in told] == [("outcome-input", True), ("leak", True)]
    zeros = np.zeros((N, 1), np.float32)
    rare = (np.arange(N) < 3).astype(np.float32)
    assert found(leaks.find, replace(cases, static=zeros, label=rare), frozenset()) == []


@pytest.mark.parametrize(
    "name", ["Survival", "Length_of_stay", "length of stay", "LOS", "Death", "in-hospital mortality"]
)
def test_the_outcome_is_found_by_its_name(name: str) -> None:
    told = found(leaks.find, replace(sequences(), statics=(name,)), frozenset())
    assert [(guard, count) for guard, _, count in told] == [("outcome-input", 1)]
    told = found(leaks.find, replace(sequences(), variables=("HR", name)), frozenset())
    assert [guard for guard, *_ in told] == ["outcome-input"]


def test_a_column_that_the_outcome_is_made_of_is_found_whatever_it_is_called() -> None:
    assert [
        guard for guard, *_ in found(leaks.find, replace(sequences(), statics=("years",)), frozenset({"years"}))
    ] == ["outcome-input"]


@pytest.mark.parametrize("feature", ["last HR", "mean HR", "count HR"])
def test_one_feature_that_tells_the_outcome_is_named(feature: str) -> None:
    cases = sequences()
    assert cases.label is not None
    value, ill = cases.value.copy(), cases.label[cases.subject] == 1
    pulse = cases.variable == 0
    if feature == "last HR":
        value[pulse & (cases.time == 1) & ill] += 8
        value[pulse & (cases.time == 0) & ill] -= 8
    elif feature == "mean HR":
        value[pulse & ill] += 6
    else:
        kept = ~(pulse & (cases.time == 1) & ~ill)
        parts = {name: getattr(cases, name)[kept] for name in ("subject", "time", "variable")}
        cases, value = replace(cases, **parts, value=value[kept]), value[kept]
    told = found(leaks.find, replace(cases, value=value), frozenset())
    assert [guard for guard, *_ in told] == ["leak"]
    assert f"{feature} (" in told[0][1]


def test_a_time_to_the_event_is_found_in_survival_sets_and_late_observations_are_counted() -> None:
    cases = sequences(survival=True)
    assert cases.duration is not None
    known = (1000 - cases.duration * 3)[:, None].astype(np.float32)
    told = found(leaks.find, replace(cases, static=known), frozenset())
    assert [(guard, "Age (1.000)" in words) for guard, words, _ in told] == [("leak", True)]
    late = cases.time.copy()
    late[[3, 7]] = 500
    assert found(leaks.find, replace(cases, time=late), frozenset()) == [
        ("leak", "Observations lie after the event or the end of follow-up.", 2)
    ]


def test_a_site_or_scanner_or_border_that_tells_the_class_is_a_shortcut() -> None:
    cases = images()
    sites = np.where(np.random.default_rng(2).random(N) < 0.95, cases.labels, 1 - cases.labels)
    told = found(shortcuts.find, replace(cases, groups={"Site": sites}, group_names={"Site": ("a", "b")}))
    assert [(guard, "group Site" in words) for guard, words, _ in told] == [("shortcut", True)]
    notes = Notes(traits={"Manufacturer": np.where(sites == 1, "X", "Y"), "bits": np.full(N, "8")})
    shortcuts.find(cases, notes)
    assert ["Manufacturer" in one["detail"] for one in notes.warnings] == [True]
    pixels = cases.images.copy()
    pixels[cases.labels == 1, :2] = 0
    told = found(shortcuts.find, replace(cases, images=pixels))
    assert "black in the border" in told[0][1]


@pytest.mark.parametrize("survival", [False, True])
def test_a_site_that_tells_the_outcome_of_patients_is_a_shortcut_as_subgroup_and_as_input(survival: bool) -> None:
    # Given five sites of whom two send nearly all patients with the outcome, which no threshold of their number tells
    cases = sequences(survival)
    ill = (cases.event if survival else cases.label) == 1
    random = np.random.default_rng(2)
    sites = np.where(ill ^ (random.random(N) < 0.05), random.choice([1, 3], N), random.choice([0, 2, 4], N))
    # Then the guards see it as a subgroup
    notes, options = Notes(), SequencesOptions(groups=("Site",))
    guards.run(replace(cases, groups={"Site": sites}, group_names={"Site": tuple("abcde")}), options, notes)
    assert [(one["guard"], "group Site (0.9" in one["detail"]) for one in notes.warnings] == [("shortcut", True)]
    assert notes.facts["shortcuts"]["group Site"] > 0.9
    # And as an input, where its name says what it is; a measurement is no place
    for name, count in (("Hospital ID", 1), ("scanner", 1), ("Age", 0)):
        named = replace(cases, static=sites[:, None].astype(np.float32), statics=(name,))
        assert len(found(shortcuts.find, named)) == count


def test_many_sites_of_one_case_are_not_taken_for_knowledge() -> None:
    groups, names = {"Site": np.arange(N)}, {"Site": tuple(map(str, range(N)))}
    assert found(shortcuts.find, replace(images(), groups=groups, group_names=names)) == []


def test_the_auc_is_that_of_scikit_learn_and_the_bins_see_what_no_threshold_sees() -> None:
    random = np.random.default_rng(4)
    positive, score = random.random(300) < 0.3, np.round(random.normal(size=300), 1)
    assert predictive.auc(score, positive) == pytest.approx(roc_auc_score(positive, score))
    middle = np.where(positive, 5.0, random.choice([-1.0, 30.0], 300)) + random.normal(0, 0.1, 300)
    assert roc_auc_score(positive, middle) < 0.7
    assert predictive.alone(middle, positive) > 0.95


def test_concordance_is_that_of_lifelines() -> None:
    from lifelines.utils import concordance_index

    random = np.random.default_rng(4)
    duration, event = random.exponential(5, 200), random.random(200) < 0.6
    score = duration + random.normal(0, 4, 200)
    assert predictive.concordance(score, duration, event) == pytest.approx(concordance_index(duration, score, event))


def test_a_set_that_nothing_can_be_learned_from_is_refused() -> None:
    cases = images()
    with pytest.raises(DatasetInvalid, match="only one outcome"):
        soundness.check(replace(cases, labels=np.zeros(N, np.int64), classes=("well",)), Notes())
    with pytest.raises(DatasetInvalid, match="have no image in the training part"):
        soundness.check(replace(cases, classes=("well", "ill", "very ill")), Notes())
    with pytest.raises(DatasetInvalid, match="validation part is empty"):
        soundness.check(cases.take(cases.split != 1), Notes())
    censored = replace(sequences(survival=True), event=np.zeros(N, np.uint8))
    with pytest.raises(DatasetInvalid, match="only one outcome of dead"):
        soundness.check(censored, Notes())


def test_a_set_without_test_part_is_used_with_a_warning() -> None:
    cases = images()
    told = found(soundness.check, cases.take(cases.split != 2))
    assert [words[:26] for _, words, _ in told] == ["There is no test part: no "]
