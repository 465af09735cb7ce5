"""A synthesis job of a generator of patients, past the gate: what models/synthesis/runner.py hands over.

No checkpoint is kept: 5,000 patients take two minutes, and each depends on seed, outcome and place alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from jobs.errors import InputError, LimitExceeded, ModelUnusable
from jobs.predicting import ModelVersion, NewArtifact
from jobs.running import Finished, Work
from models.data.canonical import SequenceSet
from models.synthesis.drawing import WEIGHTS
from models.synthesis.export import NPZ, ZIP
from models.synthesis.kind import SynthesisParams
from models.synthesis.patient_export import arrays, jsons, tables
from models.synthesis.patient_sheet import sheet
from models.synthesis.virtual_patients import CLASSES, PatientGenerator, from_manifest, named

MOST = 5000
"""Patients of one job: each has some hundred measurements."""

PORTION = 128
"""Patients between two looks at whether the job is to stop."""

SHOWN = 8

FORMS: Mapping[str, tuple[str, str, Callable[[SequenceSet, Sequence[str]], bytes]]] = {
    "npz": ("patients.npz", NPZ, arrays),
    "json": ("patients-json.zip", ZIP, jsons),
    "csv": ("patients-csv.zip", ZIP, tables),
}
"""Format -> the artifact's name, its media type, and what makes it."""


def run(work: Work, params: SynthesisParams, version: ModelVersion) -> Finished:
    """Draw what the job asks for. Raises `InputError`, `LimitExceeded`, `ModelUnusable` and `Stop`."""
    if params.format not in FORMS:
        raise InputError(f"This generator draws patients, not pictures; format is one of: {', '.join(FORMS)}.")
    if params.count > MOST:
        raise LimitExceeded(f"A job draws {MOST:,} patients at most; send several with other seeds.", allowed=MOST)
    generator = load(version)
    labels, places = asked(params)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the products are small: more threads only wait for each other
    try:
        data = drawn(work, generator, labels, places)
    finally:
        torch.set_num_threads(threads)
    work.progress(0.95, "writing", f"{len(data)} patients as {params.format}")
    names = [named(work.seed, label, place) for label, place in zip(labels, places, strict=True)]
    name, media_type, make = FORMS[params.format]
    file = NewArtifact(name, media_type, make(data, names), 0)
    picture = NewArtifact("sheet.png", "image/png", sheet(data.take(np.arange(min(SHOWN, len(data))))), 0)
    work.progress(1.0, "finished", f"{len(data)} patients")
    counts = np.bincount(labels, minlength=len(CLASSES))
    item = {
        "count": len(labels),
        "classes": {said: int(count) for said, count in zip(CLASSES, counts, strict=True) if count},
        "format": params.format,
        "file": file.name,
        "sha256": hashlib.sha256(file.read()).hexdigest(),
        "synthetic": True,
        **{part: version.manifest.get(part) for part in ("quality", "usefulness", "privacy")},
        "gate": version.manifest["gate"],
    }
    facts = {"device": "cpu", "precision": "fp64", "threads": 1, "generator": dict(version.manifest["network"])}
    return Finished([item], (picture, file), facts)


def load(version: ModelVersion) -> PatientGenerator:
    """Return a version's generator; raises `ModelUnusable` where its weights are missing, changed or do not fit."""
    again = f"of {version.name}@{version.version}"
    try:
        content = (version.folder / WEIGHTS).read_bytes()
    except OSError as cause:
        raise ModelUnusable(f"The weights {again} cannot be read; install the model again.") from cause
    if hashlib.sha256(content).hexdigest() != version.weights_sha256:
        raise ModelUnusable(f"The weights {again} differ from the manifest's sha256; install the model again.")
    try:
        return from_manifest(content, version.manifest)
    except (KeyError, TypeError, ValueError, RuntimeError) as cause:
        raise ModelUnusable(f"The weights {again} do not fit its manifest; install the model again.") from cause


def asked(params: SynthesisParams) -> tuple[list[int], list[int]]:
    """The outcome of each patient and its place in the series of that outcome: both in turn, or the one named."""
    if params.class_ is not None:
        if params.class_ not in CLASSES:
            raise InputError(f"The generator knows no class of that name; class is one of: {', '.join(CLASSES)}.")
        return [CLASSES.index(params.class_)] * params.count, list(range(params.count))
    return [n % 2 for n in range(params.count)], [n // 2 for n in range(params.count)]


def drawn(work: Work, generator: PatientGenerator, labels: list[int], places: list[int]) -> SequenceSet:
    """The patients of the series of the job's seed."""
    portions = []
    for at in range(0, len(labels), PORTION):
        work.step()
        portions.append(generator.draw(labels[at : at + PORTION], places[at : at + PORTION], work.seed))
        done = min(at + PORTION, len(labels))
        work.progress(0.9 * done / len(labels), "drawing", f"{done} of {len(labels)} patients")
    return together(portions)


def together(portions: Sequence[SequenceSet]) -> SequenceSet:
    """Return sets of the same variables as one, in their order."""
    starts = np.cumsum([0, *(len(one) for one in portions)])
    columns = ("split", "key", "fold", "time", "variable", "value", "static", "label")
    joined: dict[str, Any] = {name: np.concatenate([getattr(one, name) for one in portions]) for name in columns}
    subject = [one.subject + np.int32(start) for one, start in zip(portions, starts, strict=False)]
    first = portions[0]
    said = {name: getattr(first, name) for name in ("variables", "statics", "outcome", "unit")}
    return SequenceSet(subject=np.concatenate(subject), **joined, **said)
