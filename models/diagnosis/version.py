"""A trained network becomes a version: calibrated, audited, measured, described; its files, its manifest, its card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jobs.training import NewVersion
from models import plots
from models.cases import write
from models.data.canonical import ImageSet
from models.diagnosis import audit, evaluate, novelty
from models.diagnosis.calibration import COVERAGE
from models.diagnosis.card import card
from models.diagnosis.evaluate import Calibrated, Seen
from models.diagnosis.evidence import evidence, log_odds
from models.diagnosis.fitting import architecture, baseline
from models.diagnosis.metrics import Floats, Tick
from models.diagnosis.networks import Network, normalise
from models.diagnosis.recipes import DiagnosisRecipe
from models.diagnosis.weights import pack, packed, unpack
from models.training.session import Session

METHOD = "reference-cam"
AUDITED = (100, 60)
"""Validation images with and without the finding that the audit uses: the last ones. The method of the map was chosen
on the first ones, so the audit looks at images that the choice did not see."""

LEAST_AUDITED = 10
"""Fewer images decided rightly than this, or fewer without the finding, tell nothing of the maps: none is shown."""

SAMPLE = 64
"""Images of the precision check."""

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Trained:
    """The parts of the data, and the networks of every seed: the model's own and those of the simple baseline."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet | None
    dropped: int
    own: Mapping[int, Network]
    plain: Mapping[int, Network]


def described(session: Session, recipe: DiagnosisRecipe, trained: Trained, positive: int) -> NewVersion:
    """Calibrate, choose the seed of least validation loss, audit, read the test part; return the version."""
    for network in (*trained.own.values(), *trained.plain.values()):
        network.load_state_dict(unpack(pack(network.state_dict())))
    fixed = _fixed(trained.own, trained.validation, positive, _tick(session, "calibration on the validation part"))
    seed = min(fixed, key=lambda s: fixed[s].validation_loss)
    network = trained.own[seed]
    tick = _tick(session, "what familiar images look like")
    means, whiten, distance, energy = evaluate.familiar(network, trained.train, trained.validation, tick)
    reference = _reference(trained.train, positive)
    tick = _tick(session, "audit of the evidence maps")
    audit_report = audited(network, trained.validation, reference, positive, tick)
    figures, cases = _figures(recipe, trained, fixed, seed, positive, _tick(session, "the test part, once"))
    extra = {"means": means, "whiten": whiten, "reference": reference, "sample": sample(trained.train)}
    content = packed(network.state_dict(), extra)
    finding = trained.train.classes[positive]
    manifest = {
        "name": session.name,
        "kind": "diagnosis",
        "made_with": session.made_with,
        "resumed_elsewhere": session.moves,
        "summary": recipe.summary or f"{finding}: {recipe.architecture}, trained on {session.dataset.name}.",
        "classes": list(trained.train.classes),
        "contract": contract(recipe, trained.train),
        "weights": {"file": WEIGHTS, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)},
        "network": _network(recipe, trained.train),
        "calibration": _calibration(fixed[seed], distance, energy),
        "evidence": {"method": METHOD, "stage": 3},
        "audit": audit_report,
        "seeds": list(trained.own),
        "chosen_seed": seed,
        **figures,
        "groups": {name: list(values) for name, values in trained.train.group_names.items()},
        "data": {
            "name": session.dataset.name,
            "fingerprint": session.dataset.fingerprint,
            "train": len(trained.train),
            "dropped": trained.dropped,
            "virtual": session.virtual,
            "validation": len(trained.validation),
            "test": 0 if trained.test is None else len(trained.test),
            "source": recipe.source or f"The data set {session.dataset.name}",
            "license": recipe.license or "not stated",
            "attribution": recipe.attribution,
        },
        "card": recipe.card.model_dump(),
    }
    return NewVersion(session.name, "diagnosis", manifest, _files(content, manifest, cases))


def _tick(session: Session, message: str) -> Tick:
    """Say what begins; what is returned is called between its portions, so that a cancel is heard in each of them."""
    session.step()
    session.say("evaluating", message)
    return lambda: session.pulse("evaluating", message)


def contract(recipe: DiagnosisRecipe, part: ImageSet) -> dict[str, Any]:
    """What the version takes (models/diagnosis/contract.py). An empty list of modalities: any, and each answer says
    that this was not checked."""
    rows, columns = part.images.shape[1:]
    return {
        "modality": list(recipe.modality or part.modalities),
        "photometric_interpretation": list(recipe.photometric_interpretation),
        "png": True,
        "min_rows": rows,
        "min_columns": columns,
        "max_frames": recipe.max_frames,
        "fit": part.fit,
        "input": {"rows": rows, "columns": columns, "channels": 1, "range": [-1, 1]},
    }


def _files(content: bytes, manifest: Mapping[str, Any], cases: bytes | None) -> dict[str, bytes]:
    """All that the version consists of. Equal trainings give equal bytes: no times, no number."""
    files = {WEIGHTS: content, "card.md": card(manifest).encode()}
    test = manifest["metrics"]["test"]
    if test is not None:
        files["calibration.svg"] = plots.alone(plots.reliability(test["reliability"]))
        files["roc.svg"] = plots.alone(plots.roc(test["roc"], test["auc"]))
    if cases is not None:
        files["cases.npz"] = cases
    return files


def _network(recipe: DiagnosisRecipe, part: ImageSet) -> dict[str, Any]:
    name, _, options = architecture(recipe, part)
    if recipe.members > 1:
        return {"name": "cnn-basic-ensemble", "config": {**options, "members": recipe.members}}
    return {"name": name, "config": options}


def _fixed(networks: Mapping[int, Network], validation: ImageSet, positive: int, tick: Tick) -> dict[int, Calibrated]:
    looked: dict[int, Seen] = {s: evaluate.look(network, validation.images, tick) for s, network in networks.items()}
    return {s: evaluate.calibrate(seen.logits, validation.labels, positive) for s, seen in looked.items()}


def _reference(train: ImageSet, positive: int) -> Tensor:
    """Return the mean training image without the finding, (H, W) uint8: it shows nobody."""
    return torch.from_numpy(np.rint(train.images[train.labels != positive].mean(axis=0)).astype(np.uint8))


def sample(train: ImageSet, seed: int = 0) -> Tensor:
    """Return SAMPLE images (SAMPLE, H, W) uint8 for the precision check, on both sides of the decision.

    They are mixtures of the classes' mean images with smooth noise, so that no patient's image is shipped.
    """
    means = [torch.from_numpy(train.images[train.labels == label].mean(axis=0)).float() for label in (0, 1)]
    share = torch.linspace(-0.5, 1.5, SAMPLE).view(-1, 1, 1)
    noise = torch.randn(SAMPLE, 1, 7, 7, generator=torch.Generator().manual_seed(seed)) * 16
    smooth = nn.functional.interpolate(noise, tuple(means[0].shape), mode="bicubic")[:, 0]
    return (means[0] * (1 - share) + means[1] * share + smooth).clamp(0, 255).to(torch.uint8)


def audited(network: Network, validation: ImageSet, reference: Tensor, positive: int, tick: Tick) -> dict[str, Any]:
    """Run the audit of the evidence map on validation images that its choice did not see; a `tick` for each look."""
    normal = normalise(reference.numpy()[None])

    def score(x: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
        tick()
        with torch.no_grad():
            found: np.ndarray[Any, np.dtype[np.float64]] = log_odds(network(x), positive).double().numpy()
        return found

    def mapper(of: Network, x: Tensor) -> Tensor:
        tick()
        with torch.no_grad():
            activation, calm = of.trunk(x), of.trunk(normal)
        raw = evidence(of, activation, positive, calm)
        return nn.functional.interpolate(raw[:, None], tuple(x.shape[2:]), mode="bicubic")[:, 0]

    images = normalise(validation.images)
    sick = torch.from_numpy(validation.labels == positive)
    right = sick & torch.from_numpy(score(images) > 0)
    found, clear = images[right][-AUDITED[0] :], images[~sick][-AUDITED[1] :]
    origin = {"part": "validation", "method": METHOD}
    if min(len(found), len(clear)) < LEAST_AUDITED:
        return {**origin, "images": len(found), "pointing": {}, "tests": {"enough images": False}, "passed": False}
    return {**audit.audit(network, mapper, score, found, clear, normal), **origin}


def _calibration(fixed: Calibrated, distance: float, energy: float) -> dict[str, Any]:
    return {
        "part": "validation",
        "temperature": fixed.temperature,
        "threshold_rule": "sensitivity equals specificity on the first half of validation",
        "conformal": {"coverage": COVERAGE, "bounds": fixed.bounds},
        "ood": {"distance": distance, "energy": energy, "quantile": novelty.QUANTILE},
    }


def _figures(
    recipe: DiagnosisRecipe, trained: Trained, fixed: Mapping[int, Calibrated], seed: int, positive: int, tick: Tick
) -> tuple[dict[str, Any], bytes | None]:
    """`labels`, `metrics` and `baseline`, and cases.npz; the test part is read here and nowhere else."""
    part = trained.test
    bases = _fixed(trained.plain, trained.validation, positive, tick)
    logits = {s: _scores(one, part, tick) for s, one in trained.own.items()}
    others = {s: _scores(one, part, tick) for s, one in trained.plain.items()}
    rows = [evaluate.seed_row(s, fixed[s], logits[s], part, positive) for s in trained.own]
    plain = [evaluate.seed_row(s, bases[s], others[s], part, positive) for s in trained.plain]
    own, simple = evaluate.mean_of(rows), evaluate.mean_of(plain)
    test, subgroups, cases = None, {}, None
    chosen = logits[seed]
    if part is not None and chosen is not None:
        test = {"n": len(part), **evaluate.test_metrics(fixed[seed], chosen, part, positive, tick)}
        subgroups = evaluate.subgroups(fixed[seed], chosen, part, positive, tick)
        y, p = (part.labels == positive).astype(np.float32), fixed[seed].probability(chosen, positive)
        cases = write(part.key, {"y": y, "p": p.astype(np.float32)}, part.groups)
    validation = {"n": len(trained.validation), "auc": fixed[seed].validation_auc}
    label = {"name": trained.train.classes[positive], "class": positive, "threshold": fixed[seed].threshold}
    found = {
        "labels": [{**label, "positive_means": recipe.positive_means}],
        "metrics": {"validation": validation, "test": test, "subgroups": subgroups, "seeds": rows, "mean": own},
        "baseline": {
            "name": "cnn-basic",
            "recipe": baseline(recipe).model_dump(mode="json", include={"epochs", "batch", "learning_rate"}),
            "seeds": plain,
            "mean": simple,
            "beaten": _beaten(own, simple),
        },
    }
    return found, cases


def _scores(network: Network, part: ImageSet | None, tick: Tick) -> Floats | None:
    """Logits on a part, (N, classes); None without one."""
    return None if part is None else evaluate.look(network, part.images, tick).logits


def _beaten(own: dict[str, float], plain: dict[str, float]) -> bool:
    """Whether the mean AUC over seeds is above the baseline's: on test where there is one, else on validation."""
    name = "auc" if "auc" in own else "validation_auc"
    return own[name] > plain[name]
