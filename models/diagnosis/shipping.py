"""A trained model becomes data: weights.safetensors, manifest.json, card.md and aliases.json in a folder."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.data.medmnist import DataSet, Part
from models.diagnosis import audit, evaluate, novelty
from models.diagnosis.calibration import COVERAGE
from models.diagnosis.card import card
from models.diagnosis.evaluate import Calibrated, Seen
from models.diagnosis.evidence import evidence, log_odds
from models.diagnosis.networks import Network
from models.diagnosis.recipes import Shipped
from models.diagnosis.trainer import Recipe, normalise
from models.diagnosis.weights import pack, save, unpack

METHOD = "reference-cam"
AUDITED = (100, 60)
"""Validation images with and without the finding that the audit uses: the last ones. The method of the map was chosen
on the first ones, so the audit looks at images that the choice did not see."""

SAMPLE = 64
"""Images of the precision check."""


def ship(
    model: Shipped,
    data: DataSet,
    train: Part,
    own: dict[int, Network],
    baseline: dict[int, Network],
    out: Path,
    number: int,
) -> Path:
    """Calibrate, choose the seed of least validation loss, audit, read the test part, write; return the folder."""
    for network in (*own.values(), *baseline.values()):
        network.load_state_dict(unpack(pack(network.state_dict())))
    looked = {seed: evaluate.look(network, data.validation.images) for seed, network in own.items()}
    fixed = _fixed(looked, data.validation, model.positive)
    seed = min(fixed, key=lambda s: fixed[s].validation_loss)
    network = own[seed]
    means, whiten, distance, energy = evaluate.familiar(network, data, train)
    reference = _reference(train, model.positive)
    folder = out / model.name / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    extra = {"means": means, "whiten": whiten, "reference": reference, "sample": sample(train)}
    digest = save(folder / "weights.safetensors", network.state_dict(), extra)
    manifest = {
        **_identity(model, number, digest, (folder / "weights.safetensors").stat().st_size),
        "calibration": _calibration(fixed[seed], distance, energy),
        "evidence": {"method": METHOD, "stage": 3},
        "audit": audited(network, data.validation, reference, model.positive),
        "seeds": list(own),
        "seed": seed,
        **_figures(model, data, own, fixed, seed, baseline),
        **_origin(model, data, train),
    }
    (folder / "card.md").write_text(card(manifest))
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    (out / model.name / "aliases.json").write_text(json.dumps({"production": number}) + "\n")
    return folder


def _fixed(looked: dict[int, Seen], validation: Part, positive: int) -> dict[int, Calibrated]:
    return {s: evaluate.calibrate(seen.logits, validation.labels, positive) for s, seen in looked.items()}


def _reference(train: Part, positive: int) -> Tensor:
    """Return the mean training image without the finding, (H, W) uint8: it shows nobody."""
    return torch.from_numpy(np.rint(train.images[train.labels != positive].mean(axis=0)).astype(np.uint8))


def sample(train: Part, seed: int = 0) -> Tensor:
    """Return SAMPLE images (SAMPLE, H, W) uint8 for the precision check, on both sides of the decision.

    They are mixtures of the classes' mean images with smooth noise, so that no patient's image is shipped.
    """
    means = [torch.from_numpy(train.images[train.labels == label].mean(axis=0)).float() for label in (0, 1)]
    share = torch.linspace(-0.5, 1.5, SAMPLE).view(-1, 1, 1)
    noise = torch.randn(SAMPLE, 1, 7, 7, generator=torch.Generator().manual_seed(seed)) * 16
    smooth = nn.functional.interpolate(noise, tuple(means[0].shape), mode="bicubic")[:, 0]
    return (means[0] * (1 - share) + means[1] * share + smooth).clamp(0, 255).to(torch.uint8)


def audited(network: Network, validation: Part, reference: Tensor, positive: int) -> dict[str, Any]:
    """Run the audit of the evidence map on validation images that its choice did not see."""
    normal = normalise(reference.numpy()[None])

    def score(x: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
        with torch.no_grad():
            found: np.ndarray[Any, np.dtype[np.float64]] = log_odds(network(x), positive).double().numpy()
        return found

    def mapper(of: Network, x: Tensor) -> Tensor:
        with torch.no_grad():
            activation, calm = of.trunk(x), of.trunk(normal)
        raw = evidence(of, activation, positive, calm)
        return nn.functional.interpolate(raw[:, None], tuple(x.shape[2:]), mode="bicubic")[:, 0]

    images = normalise(validation.images)
    sick = torch.from_numpy(validation.labels == positive)
    right = sick & torch.from_numpy(score(images) > 0)
    report = audit.audit(network, mapper, score, images[right][-AUDITED[0] :], images[~sick][-AUDITED[1] :], normal)
    return {**report, "part": "validation", "method": METHOD}


def _identity(model: Shipped, number: int, digest: str, size: int) -> dict[str, Any]:
    """Return name, classes, contract, weights and network; the label's threshold follows with the calibration."""
    return {
        "name": model.name,
        "version": number,
        "kind": "diagnosis",
        "summary": model.summary,
        "classes": list(model.classes),
        "contract": dict(model.contract),
        "weights": {"file": "weights.safetensors", "sha256": digest, "bytes": size},
        "network": {"name": model.network[0], "config": model.network[1]},
        "recipe": {**asdict(model.recipe), "members": model.members},
    }


def _calibration(fixed: Calibrated, distance: float, energy: float) -> dict[str, Any]:
    return {
        "part": "validation",
        "temperature": fixed.temperature,
        "threshold_rule": "sensitivity equals specificity on the first half of validation",
        "conformal": {"coverage": COVERAGE, "bounds": fixed.bounds},
        "ood": {"distance": distance, "energy": energy, "quantile": novelty.QUANTILE},
    }


def _figures(
    model: Shipped,
    data: DataSet,
    own: dict[int, Network],
    fixed: dict[int, Calibrated],
    seed: int,
    baseline: dict[int, Network],
) -> dict[str, Any]:
    """Return `labels`, `metrics` and `baseline`; the test part is read here and nowhere else."""
    label = {"name": model.classes[model.positive], "class": model.positive, "threshold": fixed[seed].threshold}
    simple = {s: evaluate.look(network, data.validation.images) for s, network in baseline.items()}
    bases = _fixed(simple, data.validation, model.positive)
    logits = {s: None if data.test is None else evaluate.look(n, data.test.images).logits for s, n in own.items()}
    others = {s: None if data.test is None else evaluate.look(n, data.test.images).logits for s, n in baseline.items()}
    rows = [evaluate.seed_row(s, fixed[s], logits[s], data.test, model.positive) for s in own]
    plain = [evaluate.seed_row(s, bases[s], others[s], data.test, model.positive) for s in baseline]
    test = None
    chosen = logits[seed]
    if data.test is not None and chosen is not None:
        test = {"n": len(data.test), **evaluate.test_metrics(fixed[seed], chosen, data.test, model.positive)}
    return {
        "labels": [{**label, "positive_means": model.positive_means}],
        "metrics": {
            "validation": {"n": len(data.validation), "auc": fixed[seed].validation_auc},
            "test": test,
            "seeds": rows,
            "mean": evaluate.mean_of(rows),
        },
        "baseline": {
            "name": "cnn-basic",
            "recipe": asdict(Recipe.baseline(model.baseline_epochs)),
            "seeds": plain,
            "mean": evaluate.mean_of(plain),
            "beaten": _beaten(evaluate.mean_of(rows), evaluate.mean_of(plain)),
        },
    }


def _beaten(own: dict[str, float], plain: dict[str, float]) -> bool:
    """Whether the mean AUC over seeds is above the baseline's: on test where there is one, else on validation."""
    name = "auc" if "auc" in own else "validation_auc"
    return own[name] > plain[name]


def _origin(model: Shipped, data: DataSet, train: Part) -> dict[str, Any]:
    """Return where all this comes from, and the card's words."""
    try:
        code = version("medjobs")
    except PackageNotFoundError:
        code = "source"
    return {
        "data": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "train": len(train),
            "dropped": len(data.train) - len(train),
            "validation": len(data.validation),
            "test": 0 if data.test is None else len(data.test),
            **model.source,
        },
        "card": dict(model.card),
        "code_version": code,
        "environment": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "threads": torch.get_num_threads(),
            "instruction_set": torch.backends.cpu.get_cpu_capability(),
        },
        "made_with": f"python -m models.diagnosis.make {model.name} --data FOLDER",
        "parent": None,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
