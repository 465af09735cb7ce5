"""A trained GAN becomes a version: its generator in half precision, measured as it reads back; manifest and card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs.training import NewVersion
from models.data.canonical import ImageSet
from models.synthesis.adversarial import architecture
from models.synthesis.card import card
from models.synthesis.drawing import WEIGHTS, Generator, generator_of, packed, unpacked
from models.synthesis.measured import CHECK_SEED, Against, measured, simple, values
from models.synthesis.networks import Architecture, Gan
from models.synthesis.recipes import DcganRecipe, SynthesisRecipe
from models.synthesis.sheet import sheet
from models.training.session import Session

SHEET = "sheet.png"


@dataclass(frozen=True, eq=False)
class Trained:
    """The parts of the data, the GAN and the simple one beside it, and what went wrong in training, in words."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet | None
    gan: Gan
    plain: Gan | None
    findings: list[str]


def described(session: Session, recipe: SynthesisRecipe, trained: Trained) -> NewVersion:
    """Measure the generator as it will be stored, and return the version."""
    classes = trained.train.classes
    content = packed(generator_of(trained.gan))
    built = architecture(recipe, trained.train)
    generator = unpacked(content, built, classes)
    figures = json.loads(session.once("figures", lambda: _figures(session, recipe, trained, generator))["figures.json"])
    baseline = figures.pop("baseline")
    manifest: dict[str, Any] = {
        "name": session.name,
        "kind": "synthesis",
        "summary": recipe.summary or f"Draws images like those of {session.dataset.name}: {recipe.architecture}.",
        "classes": list(classes),
        "contract": {
            "rows": built.side,
            "columns": built.side,
            "modality": recipe.modality,
            "body_part": recipe.body_part,
        },
        "network": _network(built),
        "weights": {"file": WEIGHTS, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)},
        "seeds": [session.seed],
        **figures,
        "health": trained.findings,
        "metrics": _metrics(figures, trained),
        "baseline": _beside(figures, baseline, trained.plain is not None),
        "data": {
            "name": session.dataset.name,
            "fingerprint": session.dataset.fingerprint,
            "counts": session.data.counts(),
            "source": recipe.source or f"The data set {session.dataset.name}",
            "license": recipe.license or "not stated",
            "attribution": recipe.attribution,
        },
        "card": recipe.card.model_dump(),
    }
    return NewVersion(session.name, "synthesis", manifest, _files(content, manifest, generator))


def _figures(session: Session, recipe: SynthesisRecipe, trained: Trained, own: Generator) -> dict[str, bytes]:
    """All that is measured, once: a training that goes on after this does not measure again."""

    def say(what: str) -> None:
        session.step()
        session.say("evaluating", what)

    def step() -> None:
        session.step()
        session.say("evaluating", "usefulness: classifiers on drawn and on real images")

    real = Against(trained.train, trained.validation, trained.test, positive(trained.train))
    found = measured(own, trained.gan, real, recipe.checked, recipe.judge_epochs, session.seed, say, step)
    found["baseline"] = {}
    if trained.plain is not None:
        say("the simple baseline")
        built = architecture(DcganRecipe(), trained.train)
        plain = unpacked(packed(generator_of(trained.plain)), built, own.classes)
        found["baseline"] = simple(plain, real, recipe.checked, session.seed)
    return {"figures.json": json.dumps(found).encode()}


def positive(data: ImageSet) -> int:
    """The class whose AUC the classifiers of TSTR and TRTR are judged by."""
    return len(data.classes) - 1 if data.positive is None else data.classes.index(data.positive)


def _network(built: Architecture) -> dict[str, Any]:
    return {"name": built.name, "config": {"side": built.side, "width": built.width, "noise": built.noise}}


def _metrics(figures: Mapping[str, Any], trained: Trained) -> dict[str, Any]:
    """The figures as every kind lists them; `auc` is that of TSTR. Coverage and the like have no interval."""
    useful, good = figures["usefulness"], figures["quality"]
    listed: dict[str, Any] = {}
    if useful is not None:
        listed |= {"auc": useful["tstr"], "trtr_auc": useful["trtr"], "drop": useful["drop"]}
    if good is not None:
        listed |= {name: {"value": value} for name, value in values(good).items()}
    listed |= {f"membership_auc_{name}": one["auc"] for name, one in figures["privacy"]["attacks"].items()}
    test = None if trained.test is None else {"n": len(trained.test), **listed}
    return {"test": test, "mean": {name: one["value"] for name, one in listed.items()}}


def _beside(figures: Mapping[str, Any], baseline: Mapping[str, float], there: bool) -> dict[str, Any]:
    """The baseline's figures, and whether the kernel inception distance is smaller than its."""
    if not there or not baseline or figures["quality"] is None:
        return {"name": "dcgan-basic" if there else None, "mean": dict(baseline)}
    own = values(figures["quality"])
    return {"name": "dcgan-basic", "mean": dict(baseline), "beaten": own["kid"] < baseline["kid"]}


def _files(content: bytes, manifest: Mapping[str, Any], generator: Generator) -> dict[str, bytes]:
    """Equal trainings give equal bytes: no times, no number."""
    labels = np.repeat(np.arange(len(generator.classes)), 32)
    places = np.tile(np.arange(32), len(generator.classes))
    picture = sheet(generator.draw(labels.tolist(), places.tolist(), CHECK_SEED), labels, generator.classes)
    return {WEIGHTS: content, SHEET: picture, "card.md": card(manifest).encode()}
