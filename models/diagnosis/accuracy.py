"""`python -m models.diagnosis.accuracy [--data FOLDER]`: every shipped model's figures, and again from its weights.

The figures of the seeds, of the baseline and of the card are those that training wrote into the manifest. The column
"now" is computed here from the shipped weights and the test part, and must agree with the card within .005.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.catalogue import catalogue
from models.data.canonical import TEST
from models.data.formats.medmnist import read
from models.data.options import MedmnistOptions
from models.diagnosis import calibration, evaluate, metrics
from models.diagnosis.card import FIGURES
from models.diagnosis.weights import load_network

FILES = {"chest-pneumonia": "pneumoniamnist.npz", "breast-malignancy": "breastmnist.npz"}
"""The data set of each shipped model."""

AGREEMENT = 0.005
"""Largest difference between card and recomputation that passes."""


def recompute(name: str, folder: Path) -> dict[str, dict[str, float]]:
    """Return the figures of a model's production weights on the test part of its data set, with intervals."""
    version = catalogue().resolve(name)
    manifest = version.manifest
    data = read([folder / FILES[name]], MedmnistOptions())
    part = data.take(data.part(TEST))
    if len(part) == 0:
        raise ValueError(f"{FILES[name]} has no test part, so there is nothing to compute the figures on")
    label = manifest["labels"][0]
    logits = evaluate.look(load_network(version), part.images).logits
    p = calibration.softmax(logits, manifest["calibration"]["temperature"])[:, label["class"]]
    return metrics.figures((part.labels == label["class"]).astype(np.int64), p, label["threshold"])


def table(manifest: Mapping[str, Any], now: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the lines of one model's table."""
    own, base = manifest["metrics"], manifest["baseline"]
    lines = [f"{manifest['name']} version {manifest['version']}: test part, n = {own['test']['n']}, 95 % intervals"]
    lines.append(
        f"  {'':38}{'now':<26}{'card':<8}{'mean':<8}{'seeds ' + str(manifest['seeds']):<34}{base['name']} mean"
    )
    for name, words in FIGURES.items():
        found = f"{now[name]['value']:.4f} ({now[name]['low']:.4f} to {now[name]['high']:.4f})"
        seeds = " ".join(f"{row[name]:.4f}" for row in own["seeds"])
        card, mean = own["test"][name]["value"], own["mean"][name]
        lines.append(f"  {words:<38}{found:<26}{card:<8.4f}{mean:<8.4f}{seeds:<34}{base['mean'][name]:.4f}")
    verdict = "beats" if base["beaten"] else "does not beat"
    return [*lines, f"  {verdict} {base['name']} in mean AUC; {base['name']} AUC by seed {_seeds(base)}"]


def _seeds(base: Mapping[str, Any]) -> str:
    return " ".join(f"{row['auc']:.4f}" for row in base["seeds"])


def disagreements(manifest: Mapping[str, Any], now: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a sentence for each figure that differs from the card by more than AGREEMENT."""
    card = manifest["metrics"]["test"]
    far = [name for name in FIGURES if abs(now[name]["value"] - card[name]["value"]) > AGREEMENT]
    return [f"{manifest['name']}: {name} is {now[name]['value']}, the card says {card[name]['value']}" for name in far]


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; the exit code is 1 where a figure disagrees with its card."""
    default = Path(os.environ.get("MEDJOBS_TEST_DATA", "../shared/data")) / "imaging"
    parser = argparse.ArgumentParser(prog="python -m models.diagnosis.accuracy", description=__doc__)
    parser.add_argument("--data", type=Path, default=default, help="folder of the npz files (default %(default)s)")
    chosen = parser.parse_args(arguments)
    wrong: list[str] = []
    for name in FILES:
        if name not in catalogue().versions:
            print(f"{name} is not shipped")
            continue
        manifest = catalogue().resolve(name).manifest
        now = recompute(name, chosen.data)
        print("\n".join(table(manifest, now)))
        wrong += disagreements(manifest, now)
    print("\n".join(wrong) or f"every figure agrees with its card within {AGREEMENT}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
