"""`run(work)`: a synthesis job. The gate first, then the pictures, then the file that leaves the system.

Pictures are drawn in portions and kept in a checkpoint every few seconds, so that a large set whose worker is killed
goes on where it was. Each picture depends on seed, class and place alone, so the set is the same either way.
"""

from __future__ import annotations

import hashlib
import io
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.errors import ExportRefused, InputError, ModelUnusable
from jobs.predicting import ModelVersion, NewArtifact
from jobs.running import Finished, Stop, Work
from models.synthesis import patient_runner
from models.synthesis.drawing import Generator, load
from models.synthesis.export import NPZ, ZIP, Origin, dicoms, npz, pngs
from models.synthesis.kind import SynthesisParams
from models.synthesis.sheet import MOST, sheet

Images = NDArray[np.uint8]

PORTION = 256
"""Pictures between two looks at whether the job is to stop."""

EVERY_S = 10.0
"""Seconds between two checkpoints."""

DRAWN = "drawn.npy"


def run(work: Work) -> Finished:
    """Draw what the job asks for. Raises `ExportRefused`, `InputError`, `ModelUnusable` and `Stop`."""
    params, version = work.params, work.model
    assert isinstance(params, SynthesisParams)
    if version is None:
        raise ModelUnusable("A synthesis job needs a generator; name one as the job's model.")
    check_gate(version)
    if version.manifest.get("draws") == "patients":
        return patient_runner.run(work, params, version)
    if params.format in ("json", "csv"):
        raise InputError("This generator draws pictures, not patients; format is one of: npz, png, dicom.")
    generator = load(version)
    labels, places = asked(generator, params)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the products are small: more threads only wait for each other
    try:
        images = drawn(work, generator, labels, places)
    finally:
        torch.set_num_threads(threads)
    origin = Origin.of(version, work.seed)
    work.progress(0.95, "writing", f"{len(images)} pictures as {params.format}")
    file = _file(params.format, images, labels, places, origin)
    picture = sheet(images[:MOST], np.array(labels[:MOST]), generator.classes)
    work.progress(1.0, "finished", f"{len(images)} pictures")
    facts = {"device": "cpu", "precision": "fp64", "threads": 1, "generator": dict(version.manifest["network"])}
    item = _item(params, version, generator, labels, file)
    return Finished([item], (NewArtifact("sheet.png", "image/png", picture, 0), file), facts)


def check_gate(version: ModelVersion) -> None:
    """Raise `ExportRefused`, which says each figure that failed, unless the version has passed its gate."""
    gate = version.manifest.get("gate") or {}
    if gate.get("passed") is not True:
        failures = list(gate.get("failures") or ["it was never measured"])
        name = f"{version.name}@{version.version}"
        raise ExportRefused(f"{name} did not pass its gate: {'; '.join(failures)}.", failures=failures)


def asked(generator: Generator, params: SynthesisParams) -> tuple[list[int], list[int]]:
    """The class of each picture and its place in the series of that class: all classes in turn, or the one named."""
    if params.class_ is not None:
        return [generator.position(params.class_)] * params.count, list(range(params.count))
    classes = len(generator.classes)
    return [n % classes for n in range(params.count)], [n // classes for n in range(params.count)]


def drawn(work: Work, generator: Generator, labels: list[int], places: list[int]) -> Images:
    """The pictures (N, H, W), going on from the newest checkpoint."""
    portions = _resumed(work, len(labels))
    done, saved_at = sum(map(len, portions)), time.monotonic()
    while done < len(labels):
        try:
            work.step()
        except Stop:
            _save(work, portions)
            raise
        chosen = slice(done, done + PORTION)
        portions.append(generator.draw(labels[chosen], places[chosen], work.seed))
        done += len(portions[-1])
        work.progress(0.9 * done / len(labels), "drawing", f"{done} of {len(labels)} pictures")
        if time.monotonic() - saved_at > EVERY_S:
            _save(work, portions)
            saved_at = time.monotonic()
    return np.concatenate(portions)


def _resumed(work: Work, count: int) -> list[Images]:
    found = work.checkpoints.newest()
    if found is None:
        return []
    images: Images = np.load(io.BytesIO(found[0][DRAWN]), allow_pickle=False)
    work.log(f"goes on from a checkpoint: {len(images)} of {count} pictures are drawn")
    return [images]


def _save(work: Work, portions: list[Images]) -> None:
    if portions:
        out = io.BytesIO()
        np.save(out, np.concatenate(portions), allow_pickle=False)
        work.checkpoints.save({DRAWN: out.getvalue()}, {"drawn": sum(map(len, portions))})


def _file(form: str, images: Images, labels: list[int], places: list[int], origin: Origin) -> NewArtifact:
    if form == "npz":
        return NewArtifact("synthetic.npz", NPZ, npz(images, labels, origin), 0)
    make = pngs if form == "png" else dicoms
    return NewArtifact(f"synthetic-{form}.zip", ZIP, make(images, labels, places, origin), 0)


def _item(
    params: SynthesisParams, version: ModelVersion, generator: Generator, labels: list[int], file: NewArtifact
) -> dict[str, Any]:
    """As models.synthesis.kind.SynthesisItem says."""
    counts = np.bincount(labels, minlength=len(generator.classes))
    return {
        "count": len(labels),
        "classes": {name: int(counts[n]) for n, name in enumerate(generator.classes) if counts[n]},
        "format": params.format,
        "file": file.name,
        "sha256": hashlib.sha256(file.read()).hexdigest(),
        "synthetic": True,
        **{part: version.manifest.get(part) for part in ("quality", "usefulness", "privacy")},
        "gate": version.manifest["gate"],
    }
