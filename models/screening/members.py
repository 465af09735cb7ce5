"""The fitting of a screening model: every part once per seed, then the blend on what none of them was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jobs.kinds import Recipe
from models.data.canonical import MoleculeSet
from models.diagnosis.weights import pack, unpack
from models.screening import blending, boosting, features, graphs, interval, preparing
from models.screening import outcome as outcomes
from models.screening.blending import Blending
from models.screening.boosting import Trees
from models.screening.domain import Domain
from models.screening.ensemble import READ, Ensemble
from models.screening.outcome import Outcome, Scale
from models.screening.preparing import Part
from models.screening.recipes import BoostingSettings, EcfpSettings, LstmSettings, MpnnSettings, ScreeningRecipe
from models.screening.spelling import Vocabulary
from models.screening.tasks import LstmTask, MoleculeTask, MpnnTask
from models.training.randomness import derived
from models.training.session import Session
from models.training.task import Planned

Floats = NDArray[np.float64]

BASELINE = "ecfp-boosting"
"""The plain one: the same boosting on Morgan bits alone."""


@dataclass(frozen=True)
class Fitted:
    """A screening model, and what it was fitted on. `seen` (P, S, Nv, T): scores of the validation molecules by part
    and seed; `tensors`: the networks' weights as they are stored; `scale`: of the training part's labels.
    """

    ensemble: Ensemble
    scale: Scale
    training: Part
    validation: Part
    seen: Floats
    tensors: Mapping[str, Tensor]
    texts: Mapping[str, Sequence[list[str]]]
    """The trees of each part, by seed and target."""

    configs: Mapping[str, Mapping[str, Any]]
    plain: Sequence[Trees]
    """Per seed, the baseline."""

    plain_seen: Floats
    """(S, Nv, T) its scores of the validation molecules."""

    @property
    def outcome(self) -> Outcome:
        """What the targets are."""
        return self.ensemble.blending.outcome

    def blend(self, scores: Floats) -> Blending:
        """A blend fitted to the validation labels by the scores (P, Nv, T) there: of one seed, say."""
        return blending.fit(scores, self.validation.labels, self.outcome, self.scale)

    def alone(self, seen: Floats, scores: Floats) -> Floats:
        """The answers (N, T) of one member to its scores, calibrated by its scores `seen` (Nv, T) of the validation."""
        lines = blending.calibrate(seen, self.validation.labels, self.outcome, self.scale)
        return blending.calibrated(lines, scores, self.outcome)

    def every_part(self) -> Ensemble:
        """The same members with equal weights, so that every part is asked."""
        parts = len(self.ensemble.parts)
        return replace(self.ensemble, blending=replace(self.ensemble.blending, weights=np.full(parts, 1 / parts)))


def fit(session: Session, recipe: ScreeningRecipe) -> Fitted:
    """Fit a screening model to the training and validation parts; the test part is not touched."""
    data = cast(MoleculeSet, session.data)
    session.say("encoding")
    training, validation = preparing.fitting(data)
    outcome = outcomes.of(data)
    scale = outcome.scale(training.labels)
    vocabulary = Vocabulary.of(one.canonical for one in training.molecules)
    tasks = _tasks(session, recipe, (training, validation), outcome, vocabulary)
    session.plan({name: Planned(task, task.settings.epochs) for name, task in tasks.items()})
    tensors, networks = _networks(session, tasks)
    texts = _trees(session, recipe, training, outcome)
    plain = [Trees(one) for one in texts[BASELINE]]
    domain = _domain(session, training)
    parts: tuple[str, ...] = tuple(recipe.parts)
    lstm = recipe.parts.get("smiles-lstm")
    kept = {part: texts[part] for part in parts if part in texts}
    trees = {part: [Trees(one) for one in each] for part, each in kept.items()}
    loose = Ensemble(
        data.targets, parts, networks, trees, vocabulary,
        Blending(np.full(len(parts), 1 / len(parts)), np.tile([0.0, 1.0], (len(data.targets), 1)), outcome),
        domain, data.units, cast(LstmSettings, lstm).views if lstm is not None else 1,
    )  # fmt: skip
    session.say("blending")
    seen = loose.parted(validation.molecules)
    mean = seen.mean(axis=1)
    half = interval.half_widths(mean, validation.labels, outcome, scale) if data.numbers else None
    ensemble = replace(loose, blending=blending.fit(mean, validation.labels, outcome, scale), half=half)
    plain_seen = np.stack([trees(features.bits(validation.molecules)) for trees in plain])
    configs = {part: tasks[f"{part}-0"].config for part in networks}
    return Fitted(ensemble, scale, training, validation, seen, tensors, kept, configs, plain, plain_seen)


def _tasks(
    session: Session, recipe: ScreeningRecipe, parts: tuple[Part, Part], outcome: Outcome, vocabulary: Vocabulary
) -> dict[str, MoleculeTask]:
    """Every network that is going to be trained on `parts`, training and validation, by part and seed."""
    molecules, training = [one for part in parts for one in part.molecules], len(parts[0])
    labels = np.concatenate([_standardised(part, parts[0], outcome) for part in parts])
    tasks: dict[str, MoleculeTask] = {}
    for part, settings in recipe.parts.items():
        if isinstance(settings, LstmSettings):
            task: MoleculeTask = LstmTask(molecules, labels, training, vocabulary, settings, outcome)
        elif isinstance(settings, MpnnSettings):
            task = MpnnTask([graphs.graph(one) for one in molecules], labels, training, settings, outcome)
        else:
            continue
        session.step()
        tasks.update({f"{part}-{seed}": task for seed in range(recipe.seeds)})
    return tasks


def _standardised(part: Part, training: Part, outcome: Outcome) -> NDArray[np.float32]:
    """The labels of a part as models learn them."""
    return outcome.scale(training.labels).standardised(part.labels).astype(np.float32)


def _networks(
    session: Session, tasks: Mapping[str, MoleculeTask]
) -> tuple[dict[str, Tensor], dict[str, list[nn.Module]]]:
    """Trained, rounded to what is stored, and read back, so that every figure is one of the stored weights."""
    tensors: dict[str, Tensor] = {}
    networks: dict[str, list[nn.Module]] = {}
    for label, task in tasks.items():
        part, _, seed = label.rpartition("-")
        stored = pack(session.fit(label, task, task.settings.epochs).state_dict())
        network = task.build()
        network.load_state_dict(unpack(stored))
        networks.setdefault(part, []).append(network.eval())
        tensors |= {f"{part}.{seed}.{name}": value for name, value in stored.items()}
    return tensors, networks


def _trees(session: Session, recipe: ScreeningRecipe, training: Part, outcome: Outcome) -> dict[str, list[list[str]]]:
    """Every part of trees by seed and target, the baseline among them whether it takes part or not."""
    wanted: dict[str, Recipe] = {BASELINE: EcfpSettings()}
    wanted.update({part: one for part, one in recipe.parts.items() if part in READ})
    found: dict[str, list[list[str]]] = {}
    for part, settings in wanted.items():
        table = READ[part](training.molecules)
        fits = _Boosting(table, _standardised(training, training, outcome), cast(BoostingSettings, settings), outcome)
        found[part] = [fits.made(session, f"{part}-{seed}") for seed in range(recipe.seeds)]
    return found


@dataclass(frozen=True)
class _Boosting:
    """What trees are fitted to, whatever the seed."""

    table: NDArray[np.float32]
    labels: NDArray[np.float32]
    settings: BoostingSettings
    outcome: Outcome

    def made(self, session: Session, label: str) -> list[str]:
        """The trees of each target; kept in the checkpoint."""
        seed = derived(session.seed, label) % 2**31

        def make() -> dict[str, bytes]:
            return {"trees": boosting.pack(boosting.fit(self.table, self.labels, self.settings, seed, self.outcome))}

        return boosting.unpack(session.once(label, make)["trees"])


def _domain(session: Session, training: Part) -> Domain:
    """Kept in the checkpoint, for it takes the square of the molecules."""

    def make() -> dict[str, bytes]:
        found = Domain.fit(training.molecules)
        places, counts = (torch.from_numpy(one) for one in found.arrays())
        limit = torch.tensor(found.limit, dtype=torch.float64)
        return {"domain": safetensors.torch.save({"places": places, "counts": counts, "limit": limit})}

    kept = safetensors.torch.load(session.once("domain", make)["domain"])
    return Domain.read(kept["places"].numpy(), kept["counts"].numpy(), float(kept["limit"]))
