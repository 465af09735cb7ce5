"""`python -m benchmarks.prediction [deaths|liver|all] [--quick]`: the figures of the prediction kind on real data.

deaths: in-hospital death of PhysioNet 2012 set A. Five folds by sha256(RecordID) mod 5, each once the test part; every
recipe's part, the stack, and the paired difference against boosting on the same folds, pooled over all stays.
liver: death in PBC2 on the same sort of folds, C-index at landmarks beside landmark Cox by lifelines (CoxPHFitter,
penalizer .1, last values before the landmark with skewed markers as logarithms, missing ones at the training mean, sex,
drug and age); and the next bilirubin beside the last value carried forward.

`--quick`: one fold and one seed. Folds are kept in `--keep` and not trained again.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.datasets import DataSet
from models.cases import Cases
from models.data.canonical import TEST, TRAIN, SequenceSet
from models.data.formats import pbc2, physionet2012
from models.data.options import Pbc2Options, Physionet2012Options
from models.prediction import evaluate, members, stack
from models.prediction.networks import LstmBasic
from models.prediction.recipes import Stack
from models.training.session import Session

Floats = NDArray[np.float64]

FOLDS = 5
FIGURES = ("auc", "auprc", "min_se_pp", "brier")


def main() -> None:
    """Print the tables."""
    default = Path(os.environ.get("MEDJOBS_TEST_DATA", "../shared/data")) / "sequences"
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prediction", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("deaths", "liver", "all"), default="all")
    parser.add_argument("--data", type=Path, default=default, help="folder of the two data sets (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one fold, one seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", default="0,1,2,3,4", help="which to train, comma-separated (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for the answers of each fold and seed")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    folds = [0] if chosen.quick else [int(fold) for fold in chosen.folds.split(",")]
    seeds = 1 if chosen.quick else chosen.seeds
    if chosen.what in ("deaths", "all"):
        deaths(chosen.data, folds, seeds, chosen.keep)
    if chosen.what in ("liver", "all"):
        from benchmarks.prediction_liver import liver

        liver(pbc2.read([chosen.data / "pbc2.csv"], Pbc2Options()), folds, seeds)


def outer(data: SequenceSet, fold: int) -> SequenceSet:
    """The set with one fold as its test part and no validation part of its own: the recipes make inner folds."""
    return replace(data, split=np.where(data.fold == fold, TEST, TRAIN).astype(np.uint8))


def session(data: SequenceSet, recipe: Stack, seed: int) -> Session:
    """A session without a job; the limits are those that the data set's own facts would state."""
    made = Session.local(data, recipe, seed)
    facts = {"facts": {"limits": {name: list(limits) for name, limits in physionet2012.LIMITS.items()}}}
    made.dataset = DataSet("physionet2012", made.dataset.fingerprint, "sequences", made.work.folder, facts)
    return made


def answers(data: SequenceSet, fold: int, seed: int, keep: Path | None) -> dict[str, Floats]:
    """Name -> probabilities of the fold's stays, of each part alone (calibrated on inner folds) and of the stack."""
    kept = None if keep is None else keep / f"deaths-{fold}-{seed}.npz"
    if kept is not None and kept.exists():
        with np.load(kept, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    began = time.monotonic()
    own = outer(data, fold)
    fitted = members.fit(session(own, Stack(), seed), Stack())
    took = time.monotonic() - began
    batch = fitted.ensemble.encoder.encode_set(own, own.part(TEST))
    logits = fitted.ensemble.parted(batch).mean(axis=0)
    found = {
        part: stack.sigmoid(stack.apply(fitted.alone(part), logits[:, [column]]))
        for column, part in enumerate(fitted.ensemble.parts)
    }
    assert isinstance(fitted.baseline, LstmBasic)
    with torch.no_grad():
        found["lstm-basic"] = torch.sigmoid(fitted.baseline(batch)).double().numpy()
    found["stack"] = fitted.ensemble.predict(batch).probability[:, 0]
    found["seconds"] = np.array([took])
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, allow_pickle=False, **found)
    print(f"fold {fold} seed {seed}: {took:.0f} s, weights {fitted.ensemble.weights.round(3).tolist()}", flush=True)
    return found


def deaths(folder: Path, folds: list[int], seeds: int, keep: Path | None) -> None:
    """Print PhysioNet 2012 set A: pooled figures by seed and of the mean, and the paired differences."""
    names = ["physionet2012-set-a.tar.xz", "physionet2012-outcomes-a.txt"]
    data = physionet2012.read([folder / name for name in names], Physionet2012Options())
    assert data.label is not None
    shown = np.concatenate([np.flatnonzero(data.fold == fold) for fold in folds])
    made = [[answers(data, fold, seed, keep) for fold in folds] for seed in range(seeds)]
    print(f"\nPhysioNet 2012 set A, in-hospital death: folds {folds}, n = {len(shown)}, seeds {list(range(seeds))}")
    print(f"{'':12}" + "".join(f"{name:>28}" for name in FIGURES) + "   (each seed; mean)")
    pooled = {name: [_cases(data, shown, name, each) for each in made] for name in made[0][0] if name != "seconds"}
    for name, by_seed in pooled.items():
        print(f"{name:12}" + "".join(f"{text:>28}" for text in _row(by_seed)))
    for other in ("boosting", "lstm-basic"):
        for figure in ("auc", "auprc", "min_se_pp"):
            gaps = [evaluate.paired(a, b, figure) for a, b in zip(pooled[other], pooled["stack"], strict=True)]
            words = "; ".join(f"{gap['value']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f})" for gap in gaps)
            print(f"stack - {other}, {figure}, by seed with 95 % interval over stays: {words}")
    seconds = [float(one["seconds"][0]) for each in made for one in each]
    print(f"training: {np.mean(seconds):.0f} s on average, {max(seconds):.0f} s at most")


def _cases(data: SequenceSet, rows: NDArray[np.intp], name: str, folds: list[dict[str, Floats]]) -> Cases:
    assert data.label is not None
    p = np.concatenate([one[name] for one in folds])
    return evaluate.cases(data, rows, {"y": data.label[rows].astype(np.float64), "p": p})


def _row(by_seed: list[Cases]) -> Iterator[str]:
    for figure in FIGURES:
        values = [float(one.figure(figure)[0]) for one in by_seed]
        yield " ".join(f"{value:.4f}" for value in values) + f"; {np.mean(values):.4f}"


if __name__ == "__main__":
    main()
