"""The fitting of a risk model: every part once per inner fold, then the stack on what each part had not seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.data.canonical import TEST, SequenceSet
from models.prediction import boosting, features, parent, stack
from models.prediction.boosting import Trees
from models.prediction.encoding import Batch, Encoder
from models.prediction.ensemble import RiskEnsemble
from models.prediction.familiar import Familiar
from models.prediction.recipes import BinaryRecipe, BoostingSettings, LstmBasic, NetworkSettings
from models.prediction.tasks import RiskTask
from models.training.randomness import derived
from models.training.session import REST_SHARE, Session
from models.training.task import Planned

Floats = NDArray[np.float64]

BASELINE = "lstm-basic"


@dataclass(frozen=True)
class Fitted:
    """A risk model and what it was fitted on: `rows` (R,) of the data set, `label` (R,), and `unseen` (R, P), each
    part's logit from the one member that was trained without the patient's inner fold.
    """

    ensemble: RiskEnsemble
    texts: tuple[str, ...]
    configs: Mapping[str, Mapping[str, Any]]
    rows: NDArray[np.intp]
    label: Floats
    unseen: Floats
    baseline: nn.Module | None

    @property
    def risk(self) -> Floats:
        """The stack's probability for each fitting patient, from members that had not seen it, (R,)."""
        return stack.sigmoid(stack.apply(self.ensemble.weights, self.unseen))

    def alone(self, part: str) -> Floats:
        """Return the weights (2,) that calibrate one part alone, on the same patients."""
        column = self.ensemble.parts.index(part)
        return stack.fit(self.unseen[:, [column]], self.label)


def inner_folds(data: SequenceSet, rows: NDArray[np.intp], folds: int) -> NDArray[np.int64]:
    """Return the inner fold of each row by its patient's key, so that it does not depend on the other rows, (R,)."""
    return (data.patients[rows] % np.uint64(folds)).astype(np.int64)


def known_limits(session: Session) -> Mapping[str, Any]:
    """Return name -> (low, high, unit) as far as the data set's facts state what nature allows."""
    facts = session.dataset.facts.get("facts") or {}
    found: Mapping[str, Any] = facts.get("limits") or {}
    return found


def tree_seed(session: Session, name: str) -> int:
    """Return a seed for LightGBM, which takes 31 bits."""
    return derived(session.seed, name) % 2**31


def fit(session: Session, recipe: BinaryRecipe) -> Fitted:
    """Fit a risk model to the training and validation parts; the test part is not touched."""
    data = session.data
    assert isinstance(data, SequenceSet)
    assert data.label is not None
    rows = np.flatnonzero(data.split != TEST)
    session.say("encoding")
    begun = parent.risk(session, data, recipe)
    encoder = _encoder(session, data, rows, recipe) if begun is None else begun.encoder
    batch, label = encoder.encode_set(data, rows), data.label[rows]
    inner = inner_folds(data, rows, recipe.folds)
    tasks = _tasks(recipe, encoder, batch, torch.from_numpy(label), inner)
    if begun is not None:
        parent.begin(tasks, begun.networks, [part for part in recipe.parts if part != "boosting"], recipe.folds)
    table = features.table(batch, recipe.bins) if "boosting" in recipe.parts else np.empty((len(rows), 0))
    tree_s = _tree_s(recipe, table, label)
    trees_s = tree_s * recipe.folds * sum(of.rounds for of in recipe.parts.values() if isinstance(of, BoostingSettings))
    rest_s = (session.minutes or 0.0) * 60 * REST_SHARE + trees_s
    session.plan({name: Planned(task, task.settings.epochs) for name, task in tasks.items()}, rest_s)
    networks: dict[str, list[nn.Module]] = {}
    texts: list[str] = []
    for part, settings in recipe.parts.items():
        for fold in range(recipe.folds):
            name = f"{part}-{fold}"
            if isinstance(settings, BoostingSettings):
                told = _teller(session, name, settings.rounds, fold, tree_s)
                texts.append(_boosted(session, name, table, label, inner != fold, settings, told))
            else:
                networks.setdefault(part, []).append(session.fit(name, tasks[name], tasks[name].settings.epochs))
    plain = tasks.get(BASELINE)
    simple = None if plain is None else session.fit(BASELINE, plain, plain.settings.epochs)
    familiar = Familiar.fit(features.profile(batch))
    trees = [Trees(text) for text in texts]
    loose = RiskEnsemble(encoder, tuple(recipe.parts), networks, trees, np.zeros(1), familiar)
    unseen = _unseen(loose, batch, inner)
    weights = stack.fit(unseen, label.astype(np.float64))
    ensemble = RiskEnsemble(encoder, loose.parts, networks, trees, weights, familiar)
    configs = {part: tasks[f"{part}-0"].config for part in networks}
    return Fitted(ensemble, tuple(texts), configs, rows, label.astype(np.float64), unseen, simple)


def _encoder(session: Session, data: SequenceSet, rows: NDArray[np.intp], recipe: BinaryRecipe) -> Encoder:
    read = data.time[np.isin(data.subject, rows)]
    horizon = recipe.horizon or float(math.ceil(read.max(initial=1.0)))
    return Encoder.fit(data, rows, horizon, recipe.bins, known_limits(session))


def _tasks(
    recipe: BinaryRecipe, encoder: Encoder, batch: Batch, label: torch.Tensor, inner: NDArray[np.int64]
) -> dict[str, RiskTask]:
    """Every network that is going to be trained, by name, the plain baseline last."""
    sizes = {"variables": len(encoder.variables), "statics": len(encoder.statics)}
    tasks: dict[str, RiskTask] = {}
    for part, settings in recipe.parts.items():
        config: dict[str, Any] = dict(sizes)
        if isinstance(settings, NetworkSettings):
            config.update(bins=recipe.bins, hidden=settings.hidden)
            config.update(dropout=settings.dropout, input_dropout=settings.input_dropout)
        if isinstance(settings, NetworkSettings | LstmBasic):
            for fold in range(recipe.folds):
                rows = torch.from_numpy(np.flatnonzero(inner != fold))
                tasks[f"{part}-{fold}"] = RiskTask(part, config, batch, rows, label, settings)
    if not isinstance(recipe, LstmBasic):
        every = torch.arange(len(batch))
        tasks[BASELINE] = RiskTask(BASELINE, sizes, batch, every, label, LstmBasic(bins=recipe.bins))
    return tasks


def _boosted(
    session: Session, name: str, table: Floats, label: Any, train: NDArray[np.bool_], settings: BoostingSettings,
    tick: Callable[[int], None],
) -> str:  # fmt: skip
    seed = tree_seed(session, name)

    def make() -> dict[str, bytes]:
        return {"trees.txt": boosting.fit(table[train], label[train], settings, seed, tick).encode()}

    return session.once(name, make)["trees.txt"].decode()


def _teller(session: Session, name: str, rounds: int, fold: int, tree_s: float) -> Callable[[int], None]:
    """What is told after each tree; the trees of all folds so far are behind."""
    return lambda done: session.pulse("training", f"{name}, {done} of {rounds} trees", (fold * rounds + done) * tree_s)


def _tree_s(recipe: BinaryRecipe, table: Floats, label: Any) -> float:
    """Seconds of one tree, 0 without trees."""
    found = [settings for settings in recipe.parts.values() if isinstance(settings, BoostingSettings)]
    return boosting.seconds(table, label, found[0]) if found else 0.0


def _unseen(ensemble: RiskEnsemble, batch: Batch, inner: NDArray[np.int64]) -> Floats:
    """Each patient's logits (R, P) from the member that was trained without the patient."""
    parted = ensemble.parted(batch)  # (M, R, P)
    found: Floats = parted[inner, np.arange(len(batch))]
    return found
