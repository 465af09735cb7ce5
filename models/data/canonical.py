"""The canonical form of a data set: three sorts of set, as arrays and a little JSON. numpy alone, no ids, no pickle.

`fingerprint` says whether two sets hold the same cases whatever order their files stood in; `ordered` puts the rows
into an order that depends on the cases alone, so that equal fingerprints mean equal bytes from `dump`.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[Any]
"""Positions or a mask over the cases of a set."""

TRAIN, VALIDATION, TEST = 0, 1, 2
PARTS = ("train", "validation", "test")
"""Names of the values of `split`."""

ARRAYS, META = "data.npz", "meta.json"


_LATER = {"later": True}
"""Marks a field that older sets lack: with its default it is neither written nor part of the fingerprint."""


@dataclass(frozen=True, eq=False, kw_only=True)
class _Cases:
    """What the three sorts of set have in common: N cases, each in one part, each with a key."""

    form: ClassVar[str]

    split: NDArray[np.uint8]
    """(N,) 0 train, 1 validation, 2 test."""

    key: NDArray[np.uint64]
    """(N,) first 8 bytes of the sha256 of the case's own bytes or id, unique: matches cases, names none."""

    groups: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    """Subgroups such as Sex or Site, each (N,): position of the case's value in `group_names`, -1 where unknown."""

    group_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.key)

    def take(self, index: Rows) -> Self:
        """The cases at `index` (positions or a mask), with all that is theirs."""
        raise NotImplementedError

    def part(self, which: int) -> NDArray[np.intp]:
        """Positions of the cases of a part: TRAIN, VALIDATION or TEST."""
        return np.flatnonzero(self.split == which)

    def counts(self) -> dict[str, int]:
        """Number of cases in each part, by its name."""
        return {name: int((self.split == which).sum()) for which, name in enumerate(PARTS)}

    def _need(self, **arrays: tuple[NDArray[Any], Any, tuple[int, ...]]) -> None:
        """Raise ValueError unless every array has its dtype and shape; a shape's -1 stands for any length."""
        n = len(self)
        wanted: dict[str, tuple[NDArray[Any], Any, tuple[int, ...]]] = dict(arrays)
        wanted.update(split=(self.split, np.uint8, (n,)), key=(self.key, np.uint64, (n,)))
        wanted.update({f"group {name}": (codes, np.int64, (n,)) for name, codes in self.groups.items()})
        for name, (array, dtype, shape) in wanted.items():
            fits = array.ndim == len(shape) and all(w in (-1, h) for w, h in zip(shape, array.shape, strict=True))
            if array.dtype != dtype or not fits:
                raise ValueError(f"{self.form}: {name} is {array.dtype} {array.shape}, not {dtype.__name__} {shape}")
        if set(self.groups) != set(self.group_names):
            raise ValueError(f"{self.form}: groups and group_names name different groups")

    def _taken(self, index: NDArray[np.intp], *names: str) -> dict[str, Any]:
        """The named arrays, and those in common, at `index`."""
        taken: dict[str, Any] = {name: getattr(self, name) for name in ("split", "key", *names)}
        taken = {name: None if array is None else array[index] for name, array in taken.items()}
        return {**taken, "groups": {name: codes[index] for name, codes in self.groups.items()}}


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageSet(_Cases):
    """Greyscale images of one size with one class each."""

    form: ClassVar[str] = "images"

    images: NDArray[np.uint8]
    """(N, H, W), black 0."""

    labels: NDArray[np.int64]
    """(N,) positions in `classes`."""

    patient: NDArray[np.int64]
    """(N,) a code for each patient; one for each case where patients are not known."""

    classes: tuple[str, ...]
    positive: str | None = None
    """The class that a probability of a set of two classes speaks of; None: the second."""

    fit: str = "whole"
    """Part of the original frame that was resized, as models/diagnosis/pixels.py names it."""

    modalities: tuple[str, ...] = ()
    """DICOM Modality of the images, as far as known."""

    def __post_init__(self) -> None:
        n = len(self)
        self._need(
            images=(self.images, np.uint8, (n, -1, -1)),
            labels=(self.labels, np.int64, (n,)),
            patient=(self.patient, np.int64, (n,)),
        )

    def take(self, index: Rows) -> Self:
        """The cases at `index` (positions or a mask)."""
        return replace(self, **self._taken(_positions(index), "images", "labels", "patient"))


@dataclass(frozen=True, eq=False, kw_only=True)
class SequenceSet(_Cases):
    """Subjects with irregular observations over time, static values and one outcome."""

    form: ClassVar[str] = "sequences"

    subject: NDArray[np.int32]
    """(M,) position of the subject; ascending, and within a subject by time."""

    time: NDArray[np.float64]
    """(M,) in `unit`."""

    variable: NDArray[np.int16]
    """(M,) position in `variables`."""

    value: NDArray[np.float32]
    """(M,) finite."""

    variables: tuple[str, ...]
    static: NDArray[np.float32]
    """(N, S), NaN where missing."""

    statics: tuple[str, ...]
    fold: NDArray[np.uint8]
    """(N,) sha256 of the id, as a number, mod 5."""

    outcome: str
    unit: str
    label: NDArray[np.float32] | None = None
    """(N,) 0 or 1, of a binary outcome."""

    duration: NDArray[np.float32] | None = None
    """(N,) time to event or censoring in `unit`, of a survival outcome."""

    event: NDArray[np.uint8] | None = None
    """(N,) 1 where the event was seen."""

    patient: NDArray[np.uint64] | None = None
    """(N,) of the patient's id what `key` is of the subject's; None where each subject is a patient."""

    def __post_init__(self) -> None:
        n, m = len(self), len(self.subject)
        if (self.label is None) == (self.duration is None) or (self.duration is None) != (self.event is None):
            raise ValueError("sequences: give label, or duration and event")
        self._need(
            subject=(self.subject, np.int32, (m,)),
            time=(self.time, np.float64, (m,)),
            variable=(self.variable, np.int16, (m,)),
            value=(self.value, np.float32, (m,)),
            static=(self.static, np.float32, (n, len(self.statics))),
            fold=(self.fold, np.uint8, (n,)),
        )
        if self.label is not None:
            self._need(label=(self.label, np.float32, (n,)))
        if self.duration is not None and self.event is not None:
            self._need(duration=(self.duration, np.float32, (n,)), event=(self.event, np.uint8, (n,)))
        if self.patient is not None:
            self._need(patient=(self.patient, np.uint64, (n,)))
        if (np.diff(self.subject) < 0).any():
            raise ValueError("sequences: observations are not sorted by subject")

    @property
    def patients(self) -> NDArray[np.uint64]:
        """(N,) the patient of each subject: equal numbers are one patient's."""
        return self.key if self.patient is None else self.patient

    @property
    def starts(self) -> NDArray[np.intp]:
        """(N + 1,) where each subject's observations begin; the last entry is M."""
        return np.searchsorted(self.subject, np.arange(len(self) + 1))

    def take(self, index: Rows) -> Self:
        """The subjects at `index` (positions or a mask) with their observations."""
        chosen, starts = _positions(index), self.starts
        counts = np.diff(starts)[chosen]
        firsts = np.cumsum(counts) - counts
        rows = np.arange(counts.sum()) + np.repeat(starts[chosen] - firsts, counts)
        observed = {name: getattr(self, name)[rows] for name in ("time", "variable", "value")}
        subject = np.repeat(np.arange(len(chosen), dtype=np.int32), counts)
        taken = self._taken(chosen, "static", "fold", "label", "duration", "event", "patient")
        return replace(self, subject=subject, **observed, **taken)


@dataclass(frozen=True, eq=False, kw_only=True)
class MoleculeSet(_Cases):
    """Molecules as SMILES with one or more targets, some of them unmeasured."""

    form: ClassVar[str] = "molecules"

    smiles: tuple[str, ...]
    labels: NDArray[np.float32]
    """(N, T), NaN where not measured."""

    targets: tuple[str, ...]
    numbers: bool = field(default=False, metadata=_LATER)
    """Whether the targets are measurements; else they are classes, 0 and 1."""

    units: tuple[str, ...] = field(default=(), metadata=_LATER)
    """Of each target that is a number; empty where it has none or nobody said."""

    def __post_init__(self) -> None:
        self._need(labels=(self.labels, np.float32, (len(self.smiles), len(self.targets))))
        if not any(self.units):
            object.__setattr__(self, "units", ())
        if self.units and (not self.numbers or len(self.units) != len(self.targets)):
            raise ValueError("molecules: a unit each, or none; classes have none")

    def take(self, index: Rows) -> Self:
        """The molecules at `index` (positions or a mask)."""
        chosen = _positions(index)
        return replace(self, smiles=tuple(self.smiles[i] for i in chosen), **self._taken(chosen, "labels"))


AnySet = ImageSet | SequenceSet | MoleculeSet
Set = TypeVar("Set", bound=_Cases)
FORMS: Mapping[str, type[AnySet]] = {form.form: form for form in (ImageSet, SequenceSet, MoleculeSet)}


def ordered(cases: Set) -> Set:
    """The same cases by part and key, an order that says nothing of the files they came from."""
    return cases.take(np.lexsort((cases.key, cases.split)))


def dump(cases: AnySet) -> dict[str, bytes]:
    """File name -> bytes. Arrays are stored as they are: packing would depend on the zlib of the machine."""
    arrays: dict[str, NDArray[Any]] = {}
    meta: dict[str, Any] = {"form": cases.form, "groups": sorted(cases.groups)}
    for one in fields(cases):
        value = getattr(cases, one.name)
        if isinstance(value, np.ndarray):
            arrays[one.name] = value
        elif one.name != "groups" and not _unsaid(one, value):
            meta[one.name] = value
    # A group's name is a stranger's column: it stays in the JSON and never names a member of an archive.
    arrays.update({f"group.{number}": cases.groups[name] for number, name in enumerate(meta["groups"])})
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **{name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return {ARRAYS: packed.getvalue(), META: (json.dumps(meta, sort_keys=True, indent=1) + "\n").encode()}


def load(folder: Path) -> AnySet:
    """The set that `dump` made; raises ValueError where the files are not such a set."""
    try:
        meta = json.loads((folder / META).read_text())
        with (folder / ARRAYS).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays: dict[str, Any] = {name: archive[name] for name in archive.files}
        form, groups = FORMS[meta.pop("form")], meta.pop("groups")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in meta.items()
        }
        values["group_names"] = {name: tuple(names) for name, names in values["group_names"].items()}
        values["groups"] = {name: arrays.pop(f"group.{number}") for number, name in enumerate(groups)}
        return form(**arrays, **values)
    except (OSError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise ValueError(f"{folder} holds no data set in canonical form: {error}") from error


def fingerprint(cases: AnySet) -> str:
    """sha256 (hex) over every case and what the set says of itself, whatever order the rows stand in."""
    head = {
        one.name: value
        for one in fields(cases)
        if not isinstance(value := getattr(cases, one.name), np.ndarray)
        and one.name not in ("groups", "smiles", "patient")
        and not _unsaid(one, value)
    }
    rows = sorted(_digest(row) for row in _rows(cases))
    return hashlib.sha256(json.dumps([cases.form, head], sort_keys=True).encode() + b"".join(rows)).hexdigest()


def _unsaid(one: Field[Any], value: Any) -> bool:
    """Whether a field came later and says nothing here."""
    return bool(one.metadata.get("later")) and value == one.default


def _rows(cases: AnySet) -> Any:
    """For each case the arrays and bytes that are its own."""
    codes = [cases.groups[name] for name in sorted(cases.groups)]
    shared = np.column_stack([cases.split.astype(np.int64), *codes])  # (N, 1 + groups)
    if isinstance(cases, ImageSet):
        yield from zip(cases.key, shared, cases.labels, cases.patient, cases.images, strict=True)
    elif isinstance(cases, MoleculeSet):
        words = [text.encode() for text in cases.smiles]
        yield from zip(cases.key, shared, words, cases.labels, strict=True)
    else:
        parts = (cases.label, cases.duration, cases.event)
        outcome = np.column_stack([part.astype(np.float32) for part in parts if part is not None])
        starts = cases.starts
        for n in range(len(cases)):
            own = slice(starts[n], starts[n + 1])
            observed = (cases.time[own], cases.variable[own], cases.value[own])
            whose = () if cases.patient is None else (cases.patient[n],)
            yield (cases.key[n], shared[n], cases.static[n], cases.fold[n], outcome[n], *observed, *whose)


def _digest(row: tuple[Any, ...]) -> bytes:
    """sha256 over the arrays of one case, each under its length, so that none can flow into the next."""
    digest = hashlib.sha256()
    for value in row:
        content = value if isinstance(value, bytes) else value.tobytes()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.digest()


def _positions(index: Rows) -> NDArray[np.intp]:
    array = np.asarray(index)
    return np.flatnonzero(array) if array.dtype == np.bool_ else array.astype(np.intp)
