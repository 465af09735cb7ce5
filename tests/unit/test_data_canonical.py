"""The canonical form: what goes in comes out, equal cases give equal bytes, and nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.data import splitting
from models.data.canonical import (
    ARRAYS,
    META,
    AnySet,
    ImageSet,
    MoleculeSet,
    SequenceSet,
    dump,
    fingerprint,
    load,
    ordered,
)


def images() -> ImageSet:
    random = np.random.default_rng(0)
    return ImageSet(
        split=np.array([0, 0, 1, 2, 0], np.uint8),
        key=np.array([5, 3, 9, 1, 2**63 + 7], np.uint64),
        groups={"Sex": np.array([0, 1, 1, 0, -1])},
        group_names={"Sex": ("F", "M")},
        images=random.integers(0, 256, (5, 4, 3)).astype(np.uint8),
        labels=np.array([0, 1, 1, 0, 1]),
        patient=np.arange(5),
        classes=("normal", "ill"),
        positive="ill",
    )


def sequences(survival: bool = False) -> SequenceSet:
    outcome = (
        {"duration": np.array([1, 2, 3], np.float32), "event": np.array([1, 0, 1], np.uint8)}
        if survival
        else {"label": np.array([1, 0, 1], np.float32)}
    )
    return SequenceSet(
        split=np.array([0, 1, 2], np.uint8),
        key=np.array([7, 5, 6], np.uint64),
        subject=np.array([0, 0, 2, 2, 2], np.int32),
        time=np.array([0.0, 1.5, 0.0, 0.0, 7.25]),
        variable=np.array([0, 1, 0, 1, 1], np.int16),
        value=np.array([80, 36.6, 90, 37, 38], np.float32),
        variables=("HR", "Temp"),
        static=np.array([[50, np.nan], [60, 1], [70, 0]], np.float32),
        statics=("Age", "Sex"),
        fold=np.array([0, 3, 4], np.uint8),
        outcome="death",
        unit="hours",
        **outcome,
    )


def molecules() -> MoleculeSet:
    labels = np.array([[1, np.nan], [0, 1]], np.float32)
    split, key = np.array([0, 2], np.uint8), np.array([4, 2], np.uint64)
    return MoleculeSet(split=split, key=key, smiles=("CCO", "c1ccccc1"), labels=labels, targets=("a", "b"))


OF_TWO = replace(sequences(), patient=np.array([1, 1, 2**63], np.uint64))
ALL = [images(), sequences(), sequences(survival=True), OF_TWO, molecules()]


def shuffled(cases: AnySet) -> AnySet:
    return cases.take(np.random.default_rng(3).permutation(len(cases)))


@pytest.mark.parametrize("cases", ALL)
def test_what_was_dumped_is_loaded_again(cases: AnySet, tmp_path: Path) -> None:
    files = dump(cases)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    found = load(tmp_path)
    assert type(found) is type(cases)
    assert dump(found) == files
    assert fingerprint(found) == fingerprint(cases)


@pytest.mark.parametrize("cases", ALL)
def test_row_order_changes_neither_the_fingerprint_nor_the_ordered_bytes(cases: AnySet) -> None:
    other = shuffled(cases)
    assert dump(other) != dump(cases)
    assert fingerprint(other) == fingerprint(cases)
    assert dump(ordered(other)) == dump(ordered(cases))


def test_one_changed_number_changes_the_fingerprint() -> None:
    cases = images()
    pixels = cases.images.copy()
    pixels[2, 1, 1] ^= 1
    parts = cases.split.copy()
    parts[0] = 2
    marks = {fingerprint(images())}
    for change in ({"images": pixels}, {"split": parts}, {"positive": "normal"}, {"labels": 1 - cases.labels}):
        marks.add(fingerprint(ImageSet(**{**vars(cases), **change})))
    assert len(marks) == 5


def test_who_the_patients_are_is_part_of_the_fingerprint_where_a_patient_has_several_subjects() -> None:
    """Given no such patients, then the fingerprint is the one from before they were known (computed by that code)."""
    assert fingerprint(sequences()) == "7653c02714f53f2ca0fa4bc3fe0828f876b33050319ebdb1f4416d10fb17082c"
    marks = {fingerprint(sequences()), fingerprint(OF_TWO)}
    marks.add(fingerprint(replace(OF_TWO, patient=np.array([1, 2, 2], np.uint64))))
    assert len(marks) == 3


def test_subjects_keep_their_own_observations_when_they_are_taken() -> None:
    found = sequences().take([2, 1, 0])
    assert found.subject.tolist() == [0, 0, 0, 2, 2]
    assert found.value.round(1).tolist() == pytest.approx([90, 37, 38, 80, 36.6], abs=0.01)
    assert found.starts.tolist() == [0, 3, 3, 5]
    assert found.static[:, 0].tolist() == [70, 60, 50]


def test_no_array_is_named_by_a_strangers_column() -> None:
    cases = ImageSet(**{**vars(images()), "groups": {"../x": np.zeros(5, np.int64)}, "group_names": {"../x": ("a",)}})
    assert b"../x" not in dump(cases)[ARRAYS]
    assert "../x" in json.loads(dump(cases)[META])["groups"]


def test_arrays_of_the_wrong_length_or_type_are_no_data_set() -> None:
    with pytest.raises(ValueError, match="labels is int64"):
        ImageSet(**{**vars(images()), "labels": np.zeros(4, np.int64)})
    with pytest.raises(ValueError, match="key is int64"):
        MoleculeSet(**{**vars(molecules()), "key": np.zeros(2, np.int64)})
    with pytest.raises(ValueError, match="label, or duration"):
        SequenceSet(**{**vars(sequences()), "label": None})


def test_pickled_arrays_and_other_folders_are_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no data set"):
        load(tmp_path)
    for name, content in dump(images()).items():
        (tmp_path / name).write_bytes(content)
    np.savez(tmp_path / ARRAYS, images=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickle"):
        load(tmp_path)


def test_parts_follow_the_hash_of_the_patient() -> None:
    hashed = int(hashlib.sha256(b"132539").hexdigest(), 16)
    assert splitting.fold("132539") == hashed % 5
    assert splitting.key("132539") == int(hashlib.sha256(b"132539").hexdigest()[:16], 16)
    ids = [str(number) for number in range(3000)]
    parts, folds = splitting.parts(ids), splitting.folds(ids)
    assert ((parts == 2) == (folds == 4)).all()
    shares = np.bincount(parts) / len(ids)
    assert shares == pytest.approx([0.667, 0.133, 0.2], abs=0.03)


def test_copies_have_keys_of_their_own_that_do_not_depend_on_the_order_of_rows() -> None:
    digests, split = [b"a", b"b", b"a", b"a"], np.array([2, 0, 0, 1])
    found = splitting.unique_keys(digests, split)
    assert len(set(found.tolist())) == 4
    assert found[2] == splitting.key(b"a")
    turned = splitting.unique_keys(digests[::-1], split[::-1])
    assert turned[::-1].tolist() == found.tolist()
