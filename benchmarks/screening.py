"""`python -m benchmarks.screening [bbbp|bace|tox21|esol|throughput ...]`: the figures of the screening kind.

bbbp, bace, tox21: MoleculeNet's sets split by scaffold; each part of the recipe by seed, the blend, and the baseline
beside it on the same split (and scikit-learn's forest of 500 trees on the same Morgan bits, with `--forest`). With
`--validation` the test part is left out, and only what the validation part says is printed: settings are chosen by it.
esol: root mean squared error of the recipe on three random splits, the baseline beside it.
throughput: different molecules of all the sets, then analogues of them (benchmarks/molecules.py), through the runner
beside the bare loop of RDKit, features and trees.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from benchmarks import molecules
from jobs.predicting import Source
from models.catalogue import catalogue
from models.data.canonical import TEST, MoleculeSet, ordered
from models.data.formats.molecules import read
from models.data.options import MoleculesOptions
from models.screening import features, outcome, preparing, screen
from models.screening.ensemble import load
from models.screening.kind import ScreeningParams
from models.screening.molecules import from_smiles
from models.screening.outcome import Classes
from models.screening.recipes import RECIPES
from models.screening.trainer import train
from models.training.local import LocalWork
from models.training.session import Session

ASSAYS = (
    "NR-AR", "NR-AR-LBD", "NR-AhR", "NR-Aromatase", "NR-ER", "NR-ER-LBD", "NR-PPAR-gamma", "SR-ARE", "SR-ATAD5",
    "SR-HSE", "SR-MMP", "SR-p53",
)  # fmt: skip
SETS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "bbbp": ("BBBP.csv", "smiles", ("BBBP",)),
    "bace": ("bace.csv", "mol", ("Class",)),
    "tox21": ("tox21.csv", "smiles", ASSAYS),
}
BLOCK = 5000
ESOL = ("delaney-processed.csv", "smiles", ("measured log solubility in mols per litre",))


def main() -> None:
    """Print what was asked for."""
    default = Path(os.environ.get("MEDJOBS_TEST_DATA", "../shared/data")) / "molecules"
    parser = argparse.ArgumentParser(prog="python -m benchmarks.screening", description=__doc__)
    parser.add_argument("what", nargs="*", default=[*SETS, "esol", "throughput"])
    parser.add_argument("--data", type=Path, default=default, help="folder of the sets (default %(default)s)")
    parser.add_argument("--recipe", default="blend", choices=list(RECIPES))
    parser.add_argument("--settings", type=json.loads, default={}, help="of the recipe, as JSON")
    parser.add_argument("--forest", action="store_true", help="scikit-learn's forest on Morgan bits as well")
    parser.add_argument("--validation", action="store_true", help="of the validation part alone: to choose settings by")
    parser.add_argument("--count", type=int, default=100_000, help="molecules of the throughput (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    for what in chosen.what:
        if what == "throughput":
            throughput(chosen.count, chosen.data)
        elif what == "esol":
            esol(chosen)
        else:
            data = loaded(chosen.data, SETS[what], "scaffold")
            told(f"{what}, scaffold split", data, chosen)
            if chosen.forest and not chosen.validation:
                line("forest on ECFP (scikit-learn, 500)", forests(data))


def loaded(folder: Path, which: tuple[str, str, tuple[str, ...]], split_by: str, **more: Any) -> MoleculeSet:
    """One of the sets."""
    file, smiles, targets = which
    options = {"smiles": smiles, "targets": targets, "split_by": split_by, **more}
    return ordered(read([folder / file], MoleculesOptions.model_validate(options)))


def told(name: str, data: MoleculeSet, chosen: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train the recipe, print its figures by part and seed, and return the manifest's metrics and baseline."""
    began = time.monotonic()
    if chosen.validation:
        data = data.take(data.split != TEST)
    made = train(Session.local(data, RECIPES[chosen.recipe].model_validate(chosen.settings), seed=0))
    metrics, baseline = made.manifest["metrics"], made.manifest["baseline"]
    figure = outcome.of(data).headline(len(data.targets))
    size = sum(map(len, made.files.values()))
    print(f"\n{name}: {data.counts()}, {time.monotonic() - began:.0f} s, {size / 1e6:.2f} MB, {figure}")
    for part, seen in metrics["validation"]["parts"].items():
        line(f"{part}, validation", seen["seeds"], f"weight {seen['weight']:.1f}, loss {seen['loss']:.4f}")
    print(f"  the blend's loss there: {metrics['validation']['loss']:.4f}", flush=True)
    if chosen.validation:
        return metrics, baseline
    line("whole version", [metrics["test"][figure]["value"]], f"95 % {interval(metrics['test'][figure])}")
    line(f"{chosen.recipe}, by seed", [one[figure] for one in metrics["seeds"]])
    for part, told in metrics["parts"].items():
        line(part, [one[figure] for one in told["seeds"]], f"weight {told['weight']:.1f}")
    line(f"baseline {baseline['name']}", [one[figure] for one in baseline["seeds"]])
    if "coverage" in metrics["test"]:
        line("90 % intervals held", [metrics["test"]["coverage"]["value"]], interval(metrics["test"]["coverage"]))
    return metrics, baseline


def forests(data: MoleculeSet) -> list[float]:
    """Test AUC of scikit-learn's forest on Morgan bits, of seeds 0 to 2."""
    from sklearn.ensemble import RandomForestClassifier

    training, _ = preparing.fitting(data)
    test = preparing.read(data, TEST)
    x, z = features.bits(training.molecules), features.bits(test.molecules)
    found = []
    for seed in range(3):
        p = np.zeros(test.labels.shape)
        for column, labels in enumerate(training.labels.T):
            known = ~np.isnan(labels)
            forest = RandomForestClassifier(500, random_state=seed, n_jobs=1).fit(x[known], labels[known])
            p[:, column] = forest.predict_proba(z)[:, 1]
        found.append(round(Classes().mean_figure(test.labels, p), 4))
    return found


def esol(chosen: argparse.Namespace) -> None:
    """Three random splits of ESOL, 80 / 10 / 10 as MoleculeNet's, each through the trainer."""
    found: dict[str, list[float]] = {}
    for seed in range(3):
        with tempfile.TemporaryDirectory() as folder:
            _with_split(chosen.data / ESOL[0], Path(folder) / ESOL[0], seed)
            unit = {ESOL[2][0]: "log mol/l"}
            data = loaded(Path(folder), ESOL, "molecule", split="split", values="numbers", units=unit)
        metrics, baseline = told(f"esol, random split {seed}", data, chosen)
        if chosen.validation:
            continue
        found.setdefault("whole version", []).append(metrics["test"]["rmse"]["value"])
        found.setdefault("mean of the seeds", []).append(metrics["mean"]["rmse"])
        for part, one in metrics["parts"].items():
            found.setdefault(f"{part}, mean of the seeds", []).append(one["mean"]["rmse"])
        found.setdefault(f"baseline {baseline['name']}", []).append(baseline["mean"]["rmse"])
    print("\nesol: test RMSE in log mol/l on the three splits")
    for name, values in found.items():
        line(name, values)


def _with_split(source: Path, target: Path, seed: int) -> None:
    """The table with a column `split` drawn by `seed`; copies of a molecule stand in one part."""
    table = pl.read_csv(source)
    molecules = [from_smiles(text).canonical for text in table[ESOL[1]]]
    different = sorted(set(molecules))
    drawn = np.random.default_rng(seed).permutation(len(different)) / len(different)
    parts = np.where(drawn < 0.8, "train", np.where(drawn < 0.9, "validation", "test"))
    place = {one: str(part) for one, part in zip(different, parts, strict=True)}
    table.with_columns(split=pl.Series([place[one] for one in molecules])).write_csv(target)


def throughput(count: int, folder: Path) -> None:
    """The runner beside the bare loop over the same SMILES, with the shipped model.

    Both take `BLOCK` lines in turn, so that whatever else the machine does slows both; CPU seconds are shown beside.
    """
    version, texts = catalogue().resolve("blood-brain-barrier"), itertools.islice(molecules.real(folder), count)
    ensemble, done = load(version), 0
    spent = {"bare": np.zeros(2), "runner": np.zeros(2)}
    print(
        "\nthroughput, lines a second by wall and by CPU: bare loop (parse, features, trees); the runner, table and all"
    )
    while block := list(itertools.islice(texts, BLOCK)):
        done += len(block)
        with timed(spent["bare"]):
            for start in range(0, len(block), screen.CHUNK):
                ensemble.answer([from_smiles(text) for text in block[start : start + screen.CHUNK]])
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "block.smi"
            path.write_text("\n".join(block) + "\n")
            work = LocalWork(folder=Path(name))
            work.model, work.params, work.sources = version, ScreeningParams(explain=False), (Source((path,)),)
            with timed(spent["runner"]):
                screen.run(work)
        bare, runner = (done / spent[one] for one in ("bare", "runner"))
        print(
            f"{done:8d} lines: bare {bare[0]:5.0f} {bare[1]:5.0f}, runner {runner[0]:5.0f} {runner[1]:5.0f}, "
            f"ratio {runner[0] / bare[0]:.3f} {runner[1] / bare[1]:.3f}",
            flush=True,
        )


@contextmanager
def timed(spent: np.ndarray[Any, Any]) -> Iterator[None]:
    """Add wall and CPU seconds to `spent` (2,)."""
    before = np.array([time.perf_counter(), time.process_time()])
    yield
    spent += np.array([time.perf_counter(), time.process_time()]) - before


def line(words: str, values: Sequence[float], more: str = "") -> None:
    """A row: each value, their mean and spread."""
    each = " ".join(f"{value:.4f}" for value in values)
    spread = f"mean {np.mean(values):.4f} sd {np.std(values):.4f}" if len(values) > 1 else ""
    print(f"  {words:<36} {each:<24} {spread} {more}", flush=True)


def interval(figure: dict[str, float]) -> str:
    """Low and high."""
    return f"{figure['low']:.4f} to {figure['high']:.4f}"


if __name__ == "__main__":
    main()
