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
from models.prediction import stack
from models.screening import blending, boosting, features, graphs, preparing
from models.screening.blending import Blending
from models.screening.boosting import Trees
from models.screening.domain import Domain
from models.screening.ensemble import READ, Ensemble
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
    """A screening model, and what it was fitted on. `seen` (P, S, Nv, T): logits of the validation molecules by part
    and seed; `tensors`: the networks' weights as they are stored.
    """

    ensemble: Ensemble
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
    """(S, Nv, T) its logits of the validation molecules."""

    def every_part(self) -> Ensemble:
        """The same members with equal weights, so that every part is asked."""
        parts = len(self.ensemble.parts)
        return replace(self.ensemble, blending=replace(self.ensemble.blending, weights=np.full(parts, 1 / parts)))


def fit(session: Session, recipe: ScreeningRecipe) -> Fitted:
    """Fit a screening model to the training and validation parts; the test part is not touched."""
    data = cast(MoleculeSet, session.data)
    session.say("encoding")
    training, validation = preparing.fitting(data)
    molecules = [*training.molecules, *validation.molecules]
    labels = np.concatenate([training.labels, validation.labels])
    vocabulary = Vocabulary.of(one.canonical for one in training.molecules)
    tasks = _tasks(session, recipe, molecules, labels, len(training), vocabulary)
    session.plan({name: Planned(task, task.settings.epochs) for name, task in tasks.items()})
    tensors, networks = _networks(session, tasks)
    texts = _trees(session, recipe, training)
    plain = [Trees(one) for one in texts[BASELINE]]
    domain = _domain(session, training)
    parts: tuple[str, ...] = tuple(recipe.parts)
    lstm = recipe.parts.get("smiles-lstm")
    kept = {part: texts[part] for part in parts if part in texts}
    trees = {part: [Trees(one) for one in each] for part, each in kept.items()}
    loose = Ensemble(
        data.targets, parts, networks, trees, vocabulary,
        Blending(np.full(len(parts), 1 / len(parts)), np.tile([0.0, 1.0], (len(data.targets), 1))),
        domain, cast(LstmSettings, lstm).views if lstm is not None else 1,
    )  # fmt: skip
    session.say("blending")
    seen = loose.parted(validation.molecules)
    ensemble = replace(loose, blending=blending.fit(seen.mean(axis=1), validation.labels))
    plain_seen = np.stack([trees(features.bits(validation.molecules)) for trees in plain])
    configs = {part: tasks[f"{part}-0"].config for part in networks}
    return Fitted(ensemble, training, validation, seen, tensors, kept, configs, plain, plain_seen)


def _tasks(
    session: Session, recipe: ScreeningRecipe, molecules: Sequence[Any], labels: NDArray[np.float32], training: int,
    vocabulary: Vocabulary,
) -> dict[str, MoleculeTask]:  # fmt: skip
    """Every network that is going to be trained, by part and seed."""
    tasks: dict[str, MoleculeTask] = {}
    for part, settings in recipe.parts.items():
        if isinstance(settings, LstmSettings):
            task: MoleculeTask = LstmTask(list(molecules), labels, training, vocabulary, settings)
        elif isinstance(settings, MpnnSettings):
            task = MpnnTask([graphs.graph(one) for one in molecules], labels, training, settings)
        else:
            continue
        session.step()
        tasks.update({f"{part}-{seed}": task for seed in range(recipe.seeds)})
    return tasks


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


def _trees(session: Session, recipe: ScreeningRecipe, training: Part) -> dict[str, list[list[str]]]:
    """Every part of trees by seed and target, the baseline among them whether it takes part or not."""
    wanted: dict[str, Recipe] = {BASELINE: EcfpSettings()}
    wanted.update({part: one for part, one in recipe.parts.items() if part in READ})
    found: dict[str, list[list[str]]] = {}
    for part, settings in wanted.items():
        table = READ[part](training.molecules)
        found[part] = [
            _boosted(session, f"{part}-{seed}", table, training, cast(BoostingSettings, settings))
            for seed in range(recipe.seeds)
        ]
    return found


def _boosted(
    session: Session, label: str, table: NDArray[np.float32], training: Part, settings: BoostingSettings
) -> list[str]:
    """Kept in the checkpoint."""
    seed = derived(session.seed, label) % 2**31
    made = session.once(label, lambda: {"trees": boosting.pack(boosting.fit(table, training.labels, settings, seed))})
    return boosting.unpack(made["trees"])


def _domain(session: Session, training: Part) -> Domain:
    """Kept in the checkpoint, for it takes the square of the molecules."""

    def make() -> dict[str, bytes]:
        found = Domain.fit(training.molecules)
        places, counts = (torch.from_numpy(one) for one in found.arrays())
        limit = torch.tensor(found.limit, dtype=torch.float64)
        return {"domain": safetensors.torch.save({"places": places, "counts": counts, "limit": limit})}

    kept = safetensors.torch.load(session.once("domain", make)["domain"])
    return Domain.read(kept["places"].numpy(), kept["counts"].numpy(), float(kept["limit"]))


def alone(seen: Floats, labels: NDArray[np.float32], logits: Floats) -> Floats:
    """One part's probabilities (N, T) of its logits, calibrated on the validation part by its logits there."""
    calibration = blending.calibrate(seen, labels)
    return stack.sigmoid(calibration[:, 0] + calibration[:, 1] * logits)
