"""`train(session)` for patients: a data set of sequences and a recipe become a generator of virtual patients.

The validation part stands for people whom the generator has not seen; the test part is read once, by the risk models
of TSTR and TRTR. A copy of the data without it gives the same weights.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from jobs.errors import DatasetInvalid, InputError
from jobs.training import NewVersion
from models.data.canonical import TEST, TRAIN, VALIDATION, SequenceSet
from models.data.published import PUBLISHED
from models.prediction.encoding import Batch, Encoder
from models.prediction.members import known_limits
from models.synthesis import patient_figures
from models.synthesis.card import card
from models.synthesis.copula import NAME, Copula, CopulaGenerator
from models.synthesis.drawing import WEIGHTS
from models.synthesis.emission import Emission
from models.synthesis.gate import Limits, judge
from models.synthesis.health import findings
from models.synthesis.measured import CHECK_SEED, plain
from models.synthesis.patient_figures import PatientQuality
from models.synthesis.patient_sheet import sheet
from models.synthesis.privacy import Privacy
from models.synthesis.sequence_networks import SequenceGan
from models.synthesis.sequence_recipes import SequenceGanRecipe
from models.synthesis.sequence_task import PatientGanTask
from models.synthesis.version import SHEET
from models.synthesis.virtual_patients import CLASSES, PatientGenerator, Writer, levels, packed, unpacked
from models.training.session import Session
from models.training.task import Planned

OWN = "gan"
LEAST = 20
"""Patients of each outcome in training, and in validation in all, below which nothing can be learnt or measured."""

MEASURING_S = 240.0
"""What the figures take on one busy core, of which the risk models are the most."""

SHOWN = 4
"""Patients of each outcome on the sheet."""


@dataclass(frozen=True, eq=False)
class Patients:
    """The parts of a data set, and the training and validation part as the networks read them."""

    data: SequenceSet
    encoder: Encoder
    emission: Emission
    train: Batch
    validation: Batch

    def labels(self, which: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The outcomes of a part, (N,)."""
        assert self.data.label is not None
        return self.data.label[self.data.part(which)].astype(np.int64)

    @property
    def tested(self) -> tuple[str, SequenceSet]:
        """The part on which risk models are tested: the validation part where there is no test part."""
        test = self.data.part(TEST)
        return (
            ("test", self.data.take(test)) if len(test) else ("validation", self.data.take(self.data.part(VALIDATION)))
        )


def train(session: Session) -> NewVersion:
    """Train the GAN and describe its generator. Raises `Stop`, `InputError` and `DatasetInvalid`."""
    recipe = cast(SequenceGanRecipe, session.recipe)
    patients = parted(session, recipe)
    task = PatientGanTask(
        patients.train, torch.from_numpy(patients.labels(TRAIN)), patients.validation,
        torch.from_numpy(patients.labels(VALIDATION)), levels(patients.encoder, patients.emission), recipe,
    )  # fmt: skip
    # Either network sees every patient in an epoch of the recipe: two epochs of the loop.
    session.plan({OWN: Planned(task, 2 * recipe.epochs)}, MEASURING_S if session.minutes else None)
    gan = cast(SequenceGan, session.fit(OWN, task, 2 * recipe.epochs))
    return described(session, recipe, patients, gan)


def parted(session: Session, recipe: SequenceGanRecipe) -> Patients:
    """The parts; scales and habits are fitted to the training part alone."""
    data = cast(SequenceSet, session.data)
    if data.label is None:
        raise InputError("Virtual patients are drawn for an outcome of yes or no, and this data set has a time to one.")
    train, validation = data.part(TRAIN), data.part(VALIDATION)
    least = min(int((data.label[train] == label).sum()) for label in (0, 1))
    if min(least, len(validation)) < LEAST:
        raise DatasetInvalid(
            f"A generator of patients needs {LEAST} training patients of each outcome and {LEAST} of the validation "
            f"part; there are {least} of the rarer outcome and {len(validation)} of the validation part."
        )
    read = data.time[np.isin(data.subject, train)]
    horizon = recipe.horizon or float(math.ceil(read.max(initial=1.0)))
    encoder = Encoder.fit(data, train, horizon, recipe.bins, known_limits(session))
    batches = [encoder.encode_set(data, rows) for rows in (train, validation)]
    return Patients(data, encoder, Emission.fit(data, train, encoder), batches[0], batches[1])


def described(session: Session, recipe: SequenceGanRecipe, patients: Patients, gan: SequenceGan) -> NewVersion:
    """Measure the generator as it will be stored, and return the version."""
    data = patients.data
    content = packed(gan.generator)
    generator = unpacked(content, gan.sizes, patients.encoder, patients.emission, data.outcome)
    stage = session.once("figures", lambda: _figures(session, recipe, patients, gan, generator))
    figures = json.loads(stage["figures.json"])
    baseline = figures.pop("baseline")
    manifest: dict[str, Any] = {
        "name": session.name,
        "kind": "synthesis",
        "draws": "patients",
        "summary": recipe.summary
        or f"Draws patients like those of {session.dataset.name}, with {data.outcome} or not.",
        "classes": list(CLASSES),
        "outcome": data.outcome,
        "contract": {"unit": data.unit, "horizon": patients.encoder.horizon, "outcome": data.outcome},
        "encoder": patients.encoder.as_dict(),
        "emission": patients.emission.as_dict(),
        "network": {"name": "sequence-gan", "config": _config(gan)},
        "weights": {"file": WEIGHTS, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)},
        "seeds": [session.seed],
        **figures,
        "health": findings(session.curves.as_json(), OWN),
        "metrics": _metrics(figures, len(data.part(TEST))),
        "baseline": _beside(figures, baseline),
        "data": {
            "name": session.dataset.name,
            "fingerprint": session.dataset.fingerprint,
            "counts": data.counts(),
            "source": f"The data set {session.dataset.name}",
            "license": "not stated",
            "attribution": "",
            **PUBLISHED.get(session.dataset.format, {}),
        },
        "card": recipe.card.model_dump(),
    }
    return NewVersion(session.name, "synthesis", manifest, _files(content, manifest, generator))


def drawn(generator: Writer, labels: np.ndarray[Any, np.dtype[np.int64]], count: int) -> SequenceSet:
    """`count` patients, of each outcome the share that `labels` (N,) have, in a random order, always the same."""
    share = float(labels.mean())
    wanted = (np.arange(count) < round(share * count)).astype(np.int64)
    wanted = np.random.default_rng(CHECK_SEED).permutation(wanted)
    return generator.draw(wanted.tolist(), range(count), CHECK_SEED)


def _figures(
    session: Session, recipe: SequenceGanRecipe, patients: Patients, gan: SequenceGan, generator: PatientGenerator
) -> dict[str, bytes]:
    """All that is measured, once: a training that goes on after this does not measure again."""

    def step(what: str = "usefulness: risk models on drawn and on real patients") -> None:
        session.step()
        session.say("evaluating", what)

    step("the simple baseline")
    makers = (generator, simple(patients))
    step("drawing")
    labels = patients.labels(TRAIN)
    own, beside = (drawn(one, labels, max(recipe.checked, len(labels))) for one in makers)
    good, private = looked_at(patients, own, recipe.checked, gan, session.seed, step)
    plain_good, plain_private = looked_at(patients, beside, recipe.checked, None, session.seed, step)
    step()
    part, tested = patients.tested
    sets = [made.take(np.arange(len(labels))) for made in (own, beside)]
    real = patients.data.take(patients.data.part(TRAIN))
    useful, plain_useful = patient_figures.usefulness(sets, real, tested, patients.encoder, recipe.judge_rounds, step)
    limits = Limits()
    verdict = judge(limits, good.generated.coverage.coverage, useful.drop.value, private)
    found = {
        "quality": plain(good),
        "usefulness": {**plain(useful), "part": part},
        "privacy": plain(private),
        "gate": {"limits": limits.model_dump(), **verdict.as_dict()},
        "baseline": {
            "quality": plain(plain_good),
            "usefulness": plain(plain_useful),
            "privacy": plain(plain_private),
        },
    }
    return {"figures.json": json.dumps(found).encode()}


def simple(patients: Patients) -> CopulaGenerator:
    """The simple baseline, which is fitted in a second."""
    copula = Copula.fit(patients.train, patients.labels(TRAIN))
    return CopulaGenerator(patients.encoder, patients.emission, patients.data.outcome, copula)


def looked_at(
    patients: Patients, made: SequenceSet, checked: int, gan: SequenceGan | None, seed: int = 0,
    step: Callable[[str], None] = lambda _: None,
) -> tuple[PatientQuality, Privacy]:  # fmt: skip
    """Quality of the first `checked` drawn patients, and what attacks find in them; with a GAN its discriminator's."""
    step("quality")
    batch = patients.encoder.encode_set(made, np.arange(checked))
    assert made.label is not None
    labels, unseen = patients.labels(TRAIN), patients.labels(VALIDATION)
    good = patient_figures.quality(batch, made.label[:checked].astype(np.int64), patients.train, labels, seed)
    step("privacy: attacks")
    return good, patient_figures.private(batch, patients.train, labels, patients.validation, unseen, gan, seed)


def _beside(figures: Mapping[str, Any], plain_one: Mapping[str, Any]) -> dict[str, Any]:
    """The copula's figures, and whether risk models learn more from the GAN's patients than from its."""
    useful = plain_one["usefulness"]
    return {
        "name": NAME,
        "mean": _listed(plain_one),
        "beaten": figures["usefulness"]["tstr"]["value"] > useful["tstr"]["value"],
        **{name: plain_one[name] for name in ("usefulness", "privacy")},
    }


def _config(gan: SequenceGan) -> dict[str, int]:
    sizes = gan.sizes
    return {name: getattr(sizes, name) for name in ("variables", "statics", "bins", "classes", "hidden", "noise")}


def _metrics(figures: Mapping[str, Any], tested: int) -> dict[str, Any]:
    """The figures as every kind lists them; `auc` is that of TSTR. Coverage and the like have no interval."""
    useful = figures["usefulness"]
    listed: dict[str, Any] = {"auc": useful["tstr"], "trtr_auc": useful["trtr"], "drop": useful["drop"]}
    mean = _listed(figures)
    listed |= {name: {"value": mean[name]} for name in ("coverage", "density", "kid")}
    listed |= {f"membership_auc_{name}": one["auc"] for name, one in figures["privacy"]["attacks"].items()}
    return {"test": {"n": tested, **listed} if tested else None, "mean": mean}


def _listed(figures: Mapping[str, Any]) -> dict[str, float]:
    """Each figure by the name under which it is listed."""
    useful, good = figures["usefulness"], figures["quality"]["generated"]
    listed = {"auc": useful["tstr"]["value"], "trtr_auc": useful["trtr"]["value"], "drop": useful["drop"]["value"]}
    listed |= {name: round(good["coverage"][name], 4) for name in ("coverage", "density")}
    listed["kid"] = round(good["kid"]["value"], 4)
    return listed | {
        f"membership_auc_{name}": one["auc"]["value"] for name, one in figures["privacy"]["attacks"].items()
    }


def _files(content: bytes, manifest: Mapping[str, Any], generator: PatientGenerator) -> dict[str, bytes]:
    """Equal trainings give equal bytes: no times, no number."""
    labels = np.repeat((0, 1), SHOWN)
    shown = generator.draw(labels.tolist(), range(len(labels)), CHECK_SEED)
    return {WEIGHTS: content, SHEET: sheet(shown), "card.md": card(manifest).encode()}
