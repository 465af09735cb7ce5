"""`python -m benchmarks.patients [--data sequences]`: virtual patients of PhysioNet 2012, trained and measured.

Trains the recipe sequence-gan on the training part of the data set's own split and prints the tables of its card:
quality on patients' profiles beside real patients, the risk model trained on drawn patients (TSTR) beside real ones
(TRTR) on the test part, attacks beside a memoriser, and the gate's verdict. Seconds are of one thread's own time.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch

from models.data.canonical import ordered
from models.data.formats import physionet2012
from models.data.options import Physionet2012Options
from models.synthesis import tables
from models.synthesis.sequence_recipes import SequenceGanRecipe
from models.synthesis.sequence_trainer import train
from models.training.session import Session


def main() -> None:
    """Print the tables."""
    default = Path(os.environ.get("MEDJOBS_TEST_DATA", "../shared/data")) / "sequences"
    parser = argparse.ArgumentParser(prog="python -m benchmarks.patients", description=__doc__)
    parser.add_argument("--data", type=Path, default=default, help="folder of the set (default %(default)s)")
    parser.add_argument("--epochs", type=float, default=SequenceGanRecipe().epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the version's files")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    files = [chosen.data / name for name in ("physionet2012-set-a.tar.xz", "physionet2012-outcomes-a.txt")]
    session = local(files, SequenceGanRecipe(epochs=chosen.epochs), chosen.seed)
    began = time.process_time()
    made = train(session)
    print(f"{session.data.counts()}, {chosen.epochs:g} epochs, seed {chosen.seed}: {time.process_time() - began:.0f} s")
    shown("Quality", tables.QUALITY_HEAD, tables.quality(made.manifest))
    shown("Usefulness", tables.USE_HEAD, tables.usefulness(made.manifest))
    shown("Privacy", tables.PRIVACY_HEAD, tables.privacy(made.manifest))
    print("\n".join([tables.verdict(made.manifest), *made.manifest["health"], *tables.notes(made.manifest)]))
    for name, content in made.files.items() if chosen.keep else ():
        chosen.keep.mkdir(parents=True, exist_ok=True)
        (chosen.keep / name).write_bytes(content)


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
