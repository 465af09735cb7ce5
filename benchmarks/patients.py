"""`python -m benchmarks.patients [--data sequences]`: virtual patients of PhysioNet 2012, trained and measured.

Trains the recipe sequence-gan on the training part of the data set's own split and prints the tables of its card:
quality on patients' profiles beside real patients, the risk model trained on drawn patients (TSTR) beside real ones
(TRTR) on the test part, attacks beside a memoriser, and the gate's verdict. Beside each stands the Gaussian copula,
which `--simple` measures alone: no network is trained then. Seconds are of one thread's own time.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.data.canonical import TRAIN, ordered
from models.data.formats import physionet2012
from models.data.options import Physionet2012Options
from models.synthesis import tables
from models.synthesis.copula import NAME
from models.synthesis.gate import Limits, judge
from models.synthesis.measured import plain
from models.synthesis.patient_figures import usefulness
from models.synthesis.sequence_recipes import SequenceGanRecipe
from models.synthesis.sequence_trainer import drawn, looked_at, parted, simple, train
from models.synthesis.virtual_patients import CLASSES
from models.training.session import Session


def main() -> None:
    """Print the tables."""
    default = Path(os.environ.get("MEDJOBS_TEST_DATA", "../shared/data")) / "sequences"
    parser = argparse.ArgumentParser(prog="python -m benchmarks.patients", description=__doc__)
    parser.add_argument("--data", type=Path, default=default, help="folder of the set (default %(default)s)")
    parser.add_argument("--epochs", type=float, default=SequenceGanRecipe().epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the version's files")
    parser.add_argument("--simple", action="store_true", help="the simple baseline alone")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    files = [chosen.data / name for name in ("physionet2012-set-a.tar.xz", "physionet2012-outcomes-a.txt")]
    session = local(files, SequenceGanRecipe(epochs=chosen.epochs), chosen.seed)
    began = time.process_time()
    if chosen.simple:
        manifest = copula(session)
        print(f"{session.data.counts()}, {NAME}: {time.process_time() - began:.0f} s")
        told(manifest)
        return
    made = train(session)
    print(f"{session.data.counts()}, {chosen.epochs:g} epochs, seed {chosen.seed}: {time.process_time() - began:.0f} s")
    told(made.manifest)
    for name, content in made.files.items() if chosen.keep else ():
        chosen.keep.mkdir(parents=True, exist_ok=True)
        (chosen.keep / name).write_bytes(content)


def copula(session: Session) -> dict[str, Any]:
    """The figures of the simple baseline, as a manifest would have them were it a version."""
    recipe = SequenceGanRecipe()
    patients = parted(session, recipe)
    labels = patients.labels(TRAIN)
    made = drawn(simple(patients), labels, max(recipe.checked, len(labels)))
    good, private = looked_at(patients, made, recipe.checked, None)
    part, tested = patients.tested
    real = patients.data.take(patients.data.part(TRAIN))
    (useful,) = usefulness([made.take(np.arange(len(labels)))], real, tested, patients.encoder, recipe.judge_rounds)
    verdict = judge(Limits(), good.generated.coverage.coverage, useful.drop.value, private)
    return {
        "draws": "patients",
        "classes": list(CLASSES),
        "quality": plain(good),
        "usefulness": {**plain(useful), "part": part},
        "privacy": plain(private),
        "gate": verdict.as_dict(),
    }


def told(manifest: Mapping[str, Any]) -> None:
    """Print a version's tables."""
    shown("Quality", tables.QUALITY_HEAD, tables.quality(manifest))
    shown("Usefulness", tables.USE_HEAD, tables.usefulness(manifest))
    shown("Privacy", tables.PRIVACY_HEAD, tables.privacy(manifest))
    print("\n".join([tables.verdict(manifest), *manifest.get("health", ()), *tables.notes(manifest)]))


def local(files: list[Path], recipe: SequenceGanRecipe, seed: int) -> Session:
    """A session without a job, whose data set has the limits that the format knows."""
    data = ordered(physionet2012.read(files, Physionet2012Options()))
    session = Session.local(data, recipe, seed)
    limits = {name: list(limit) for name, limit in physionet2012.LIMITS.items()}
    facts = {"counts": data.counts(), "facts": {"limits": limits}}
    session.dataset = replace(session.dataset, name="physionet2012", format="physionet2012", facts=facts)
    return session


def shown(title: str, head: Iterable[str], rows: Iterable[tuple[str, ...]]) -> None:
    """Print a table in Markdown."""
    head = tuple(head)
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print()


if __name__ == "__main__":
    main()
