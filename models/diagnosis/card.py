"""A model card in Markdown, in the order of CHAI's applied model card, from a manifest. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.training.card import WORDS, repeated

FIGURES = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ece": "calibration error (ECE)",
    "ece_if_perfect": "ECE of a perfectly calibrated model",
}
"""Metric name in the manifest -> words."""


def card(manifest: Mapping[str, Any]) -> str:
    """Return the card's text."""
    label, data = manifest["labels"][0], manifest["data"]
    virtual = data.get("virtual")
    drawn = "" if virtual is None else f" Beside them it was trained on {virtual['images']} synthetic "
    drawn += "" if virtual is None else f"images, drawn by {virtual['name']}@{virtual['version']}."
    parts = [
        f"# {manifest['name']}",
        f"{manifest['summary']} Research use only, not a medical device.",
        "## What it says",
        f"`{label['name']}` is positive at a probability of {label['threshold']:.4f} or more. "
        + str(label["positive_means"]),
        *(f"## {title}\n\n{manifest['card'][key]}" for key, title in WORDS.items() if key in manifest["card"]),
        "## Data",
        f"{data['source']}. Training {data['train']} ({data['dropped']} left out: validation holds the same image), "
        f"validation {data['validation']}, test {data['test']} images; licence {data['license']}.{drawn}",
        "## Figures",
        figures(manifest),
        "## Evidence maps",
        audit(manifest["audit"]),
        "## Making it again",
        _making(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def _making(manifest: Mapping[str, Any]) -> str:
    command = f"`{manifest['made_with']}`, or the job again" if manifest.get("made_with") else "Run the job again"
    return (
        f"{command} (`medjobs verify JOB`): "
        + repeated(manifest, "equal threads, instruction set and libraries give equal weights.")
        + f" Seeds {', '.join(map(str, manifest['seeds']))}; this version is seed {manifest['chosen_seed']}, "
        "the one of least validation loss."
    )


def figures(manifest: Mapping[str, Any]) -> str:
    """Return the table: shipped weights with intervals, mean of the seeds, baseline."""
    metrics, baseline = manifest["metrics"], manifest["baseline"]
    if metrics["test"] is None:
        return f"No test part was there. Validation AUC: {metrics['validation']['auc']}."
    lines = [
        f"Test part, n = {metrics['test']['n']}, read once; 95 % intervals by bootstrap.",
        "",
        f"| | this version | mean of {len(metrics['seeds'])} seeds | {baseline['name']}, mean of as many |",
        "|---|---|---|---|",
    ]
    for name, words in FIGURES.items():
        one = metrics["test"][name]
        shown = f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
        lines.append(f"| {words} | {shown} | {metrics['mean'][name]:.3f} | {baseline['mean'][name]:.3f} |")
    sets = metrics["test"]["prediction_sets"]
    verdict = "It beats" if baseline["beaten"] else "It does not beat"
    ending = f"{verdict} the simple baseline in mean AUC. Prediction sets are to hold the true class in "
    ending += f"{sets['intended_coverage']:.0%} of images and hold it in {sets['coverage']:.1%} of the test part; "
    return "\n".join([*lines, "", f"{ending}{sets['one_class']:.1%} of the sets name one class."])


def audit(report: Mapping[str, Any]) -> str:
    """Return the audit's verdict in words."""
    tests = ", ".join(f"{name} {'passed' if good else 'FAILED'}" for name, good in report["tests"].items())
    verdict = "Maps are shown" if report["passed"] else "The maps failed, so none is shown"
    rates = report["pointing"].get("hit_rate")
    pointing = ""
    if rates:
        pointing = f" Planted discs were hit by {rates['model']:.0%} of the maps, {rates['random']:.0%} of random ones"
        pointing += f" and {rates['centre']:.0%} of the centre map's."
    where = f"{report['images']} {report['part']} images"
    return f"{verdict}: {tests} (method {report['method']}, {where}).{pointing} Model evidence, not a cause."
