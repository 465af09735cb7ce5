"""A version of the prediction kind trained in a second on made-up patients: the machinery needs no better one."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jobs.predicting import ModelVersion
from jobs.training import NewVersion
from models.data import splitting
from models.data.canonical import SequenceSet
from models.prediction.examples import ICU, icu
from models.prediction.recipes import LstmBasic
from models.prediction.trainer import train
from models.training.session import Session

STATICS = ("Age", "Gender", "Height", "ICUType")


def patients(count: int) -> SequenceSet:
    """`count` made-up stays; the even numbers, which get worse, end in death."""
    made = [icu(number) for number in range(1, count + 1)]
    names = [f"made-up-{number}" for number in range(1, count + 1)]
    variables = tuple(ICU)
    rows = [
        (subject, one["time"], variables.index(one["name"]), one["value"])
        for subject, patient in enumerate(made)
        for one in patient["observations"]
    ]
    subject, time, variable, value = (np.array(column) for column in zip(*rows, strict=True))
    return SequenceSet(
        split=splitting.parts(names), key=splitting.keys(names), fold=splitting.folds(names),
        subject=subject.astype(np.int32), time=time.astype(np.float64), variable=variable.astype(np.int16),
        value=value.astype(np.float32), variables=variables, statics=STATICS,
        static=np.array([[one["static"][name] for name in STATICS] for one in made], dtype=np.float32),
        outcome="death", unit="hours", label=(np.arange(1, count + 1) % 2 == 0).astype(np.float32),
    )  # fmt: skip


@cache
def trained() -> NewVersion:
    """Train it, once a process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        recipe = LstmBasic(folds=2, bins=8, epochs=1, batch=16)
        return train(Session.local(patients(120), recipe, seed=0))
    finally:
        torch.set_num_threads(threads)


def version(folder: Path, **changes: Any) -> ModelVersion:
    """Write it to `folder` as version 1 of `made-up`; `changes` replace parts of its manifest."""
    made = trained()
    weights = made.files["weights.safetensors"]
    digest = {"file": "weights.safetensors", "sha256": hashlib.sha256(weights).hexdigest(), "size": len(weights)}
    named = {"name": "made-up", "version": 1, "kind": "prediction", "weights": digest}
    manifest = {**made.manifest, **named, **changes}
    for name, content in made.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return ModelVersion("made-up", 1, "prediction", folder, manifest)
