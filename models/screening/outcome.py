"""What a target is, a class or a number: all that differs between the two when models are trained, blended and judged.

A part of a model answers with a *score* per target: the log odds of a class, or a number in spreads of the training
part from its mean. A line per target makes the answer of it: a probability, or a number in the target's own unit.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.data.predictive import auc
from models.prediction import stack

Floats = NDArray[np.float64]
Labels = NDArray[np.float32]

LEAST_P = 1e-6
"""Probabilities nearer to 0 or 1 are held there where their log odds are taken."""


@dataclass(frozen=True)
class Scale:
    """Of T targets: `centre` and `spread` (T,), in their units."""

    centre: Floats
    spread: Floats

    @classmethod
    def none(cls, targets: int) -> Self:
        """That changes nothing."""
        return cls(np.zeros(targets), np.ones(targets))

    def standardised(self, values: Labels | Floats) -> Floats:
        """Values (N, T) as spreads from the centre; NaN stays."""
        found: Floats = (values.astype(np.float64) - self.centre) / self.spread
        return found

    def in_unit(self, lines: Floats) -> Floats:
        """Lines (T, 2) that end in spreads as lines that end in the targets' units."""
        return np.column_stack([self.centre + self.spread * lines[:, 0], self.spread * lines[:, 1]])


class Outcome(ABC):
    """Labels (N, T) have NaN where a target was not measured."""

    name: ClassVar[str]
    """As the option `values` of a data set says it."""

    figure: ClassVar[str]
    """By which a model of one target is judged."""

    monitor: ClassVar[str]
    """Figure of the validation part, more is better, whose best epoch of a network is kept."""

    objective: ClassVar[str]
    """Of LightGBM."""

    higher_is_better: ClassVar[bool]

    def headline(self, targets: int) -> str:
        """The figure by which a model is judged: of several targets the mean."""
        return self.figure if targets == 1 else f"mean_{self.figure}"

    def better(self, one: float, other: float) -> bool:
        """Whether `one` is the better of two headlines."""
        return one > other if self.higher_is_better else one < other

    @abstractmethod
    def scale(self, labels: Labels) -> Scale:
        """In which parts learn, from the training labels."""

    @abstractmethod
    def known(self, column: Labels) -> int:
        """How much a target's labels (N,) tell: molecules of the rarer class, or measurements that differ."""

    @abstractmethod
    def agreed(self, values: Labels) -> float:
        """The label of a molecule for those of its copies, which differ; NaN where nobody is to be believed."""

    @abstractmethod
    def line(self, score: Floats, label: Floats) -> Floats:
        """Intercept and slope (2,), not below 0, that make the best answers of scores (n,), in standardised labels."""

    @abstractmethod
    def loss(self, answer: Floats, label: Floats) -> float:
        """Mean loss of answers (n,)."""

    @abstractmethod
    def linked(self, answer: Floats) -> Floats:
        """An answer from what its line gives."""

    @abstractmethod
    def margin(self, answer: Floats) -> Floats:
        """What lines give, from answers: the scale on which contributions add up."""

    @abstractmethod
    def mean_figure(self, labels: Labels | Floats, answer: Floats) -> float:
        """The figure's mean over the targets that allow it, of (N, T); NaN where none does."""

    @abstractmethod
    def columns(self, label: Floats, answer: Floats) -> Mapping[str, Floats]:
        """The columns of `models.cases.Cases`."""

    @abstractmethod
    def monitored(self, labels: Labels, score: Floats) -> float:
        """The figure `monitor` of a network's scores (N, T) and standardised labels."""


class Classes(Outcome):
    """Targets of 0 and 1."""

    name, figure, monitor, objective, higher_is_better = "classes", "auc", "validation_auc", "binary", True

    def scale(self, labels: Labels) -> Scale:
        """Classes have none."""
        return Scale.none(labels.shape[1])

    def known(self, column: Labels) -> int:
        """Of the rarer class."""
        return min(int((column == value).sum()) for value in (0, 1))

    def agreed(self, values: Labels) -> float:
        """Nobody knows which copy is right."""
        return math.nan

    def line(self, score: Floats, label: Floats) -> Floats:
        """Platt's logistic regression."""
        if len(np.unique(label)) < 2:
            return np.array([0.0, 1.0])
        intercept, slope = stack.fit(score[:, None], label)
        return np.array([intercept, max(float(slope), 0.0)])

    def loss(self, answer: Floats, label: Floats) -> float:
        """Cross-entropy."""
        p = np.clip(answer, 1e-7, 1 - 1e-7)
        return float(-(label * np.log(p) + (1 - label) * np.log(1 - p)).mean())

    def linked(self, answer: Floats) -> Floats:
        """The probability of log odds."""
        return stack.sigmoid(answer)

    def margin(self, answer: Floats) -> Floats:
        """The log odds of a probability."""
        p = np.clip(answer, LEAST_P, 1 - LEAST_P)
        found: Floats = np.log(p / (1 - p))
        return found

    def mean_figure(self, labels: Labels | Floats, answer: Floats) -> float:
        """Of the area under the ROC curve, of targets that have both classes, as MoleculeNet reports it."""
        found = []
        for column in range(labels.shape[1]):
            known = ~np.isnan(labels[:, column])
            positive = labels[known, column] > 0
            if positive.any() and not positive.all():
                found.append(auc(answer[known, column], positive))
        return float(np.mean(found)) if found else math.nan

    def columns(self, label: Floats, answer: Floats) -> Mapping[str, Floats]:
        """Label and probability."""
        return {"y": label, "p": answer}

    def monitored(self, labels: Labels, score: Floats) -> float:
        """Mean AUC."""
        return self.mean_figure(labels, score)


class Numbers(Outcome):
    """Targets that were measured."""

    name, figure, monitor, objective, higher_is_better = "numbers", "rmse", "validation_r2", "regression", False

    def scale(self, labels: Labels) -> Scale:
        """Mean and standard deviation of each target; a spread of 1 where nothing differs."""
        known = [column[~np.isnan(column)].astype(np.float64) for column in labels.T]
        centre = np.array([one.mean() if len(one) else 0.0 for one in known])
        spread = np.array([one.std() if len(one) else 0.0 for one in known])
        return Scale(centre, np.where(spread > 0, spread, 1.0))

    def known(self, column: Labels) -> int:
        """Measurements, but 0 where all are alike."""
        values = column[~np.isnan(column)]
        return len(values) if len(np.unique(values)) > 1 else 0

    def agreed(self, values: Labels) -> float:
        """Measured twice: the mean."""
        return float(values.mean())

    def line(self, score: Floats, label: Floats) -> Floats:
        """Least squares."""
        around = score - score.mean() if len(score) else score
        square = float(around @ around)
        if square < 1e-12:
            return np.array([float(label.mean()) if len(label) else 0.0, 0.0])
        slope = max(float(around @ label) / square, 0.0)
        return np.array([float(label.mean()) - slope * float(score.mean()), slope])

    def loss(self, answer: Floats, label: Floats) -> float:
        """Mean squared error."""
        return float(((answer - label) ** 2).mean())

    def linked(self, answer: Floats) -> Floats:
        """As it is."""
        return answer

    def margin(self, answer: Floats) -> Floats:
        """As it is."""
        return answer

    def mean_figure(self, labels: Labels | Floats, answer: Floats) -> float:
        """Of the root mean squared error, over the targets that were measured at all."""
        known = ~np.isnan(labels)
        columns = [column for column in range(labels.shape[1]) if known[:, column].any()]
        each = [np.sqrt(np.mean((answer[known[:, c], c] - labels[known[:, c], c]) ** 2)) for c in columns]
        return float(np.mean(each)) if each else math.nan

    def columns(self, label: Floats, answer: Floats) -> Mapping[str, Floats]:
        """What was measured and what the model said."""
        return {"measured": label, "predicted": answer}

    def monitored(self, labels: Labels, score: Floats) -> float:
        """Share of the variance explained, mean over the targets."""
        found = []
        for column, label in enumerate(labels.T):
            known = ~np.isnan(label)
            variance = float(label[known].var()) if known.any() else 0.0
            if variance > 0:
                found.append(1 - float(((score[known, column] - label[known]) ** 2).mean()) / variance)
        return float(np.mean(found)) if found else math.nan


OUTCOMES: Mapping[str, Outcome] = {one.name: one for one in (Classes(), Numbers())}
"""By name."""


def of(data: Any) -> Outcome:
    """What the targets of a `MoleculeSet` are."""
    return OUTCOMES["numbers" if data.numbers else "classes"]
