"""Figures of a screening model on the test part: of the version, of each seed, of each part, and of the baseline.

With several targets a case of cases.npz is a molecule and a target that was measured, and the target is its subgroup;
the figure that counts is then the mean over the targets, as MoleculeNet reports it. Numbers of several targets stand
there in spreads of the training part, for their units cannot be mixed; the figures of each target are in its own unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.cases import Cases
from models.data.canonical import MoleculeSet
from models.prediction import evaluate
from models.screening import blending, features
from models.screening.members import BASELINE, Fitted
from models.screening.outcome import Outcome, Scale
from models.screening.preparing import Part

Floats = NDArray[np.float64]

RESAMPLES = 500


class Measured:
    """Everything that is said of the test part `test`."""

    def __init__(self, fitted: Fitted, data: MoleculeSet, test: Part, seed: int) -> None:
        """Answers all test molecules with every part once. `seed` is the job's."""
        self.fitted, self.data, self.test, self.seed = fitted, data, test, seed
        self.outcome, self.scale = fitted.outcome, judged_in(fitted.scale)
        self.scores = fitted.every_part().parted(test.molecules)  # (P, S, N, T)
        self.blend = fitted.ensemble.blending.answer(self.scores.mean(axis=1))
        bits = features.bits(test.molecules)
        self.plain_scores = np.stack([trees(bits) for trees in fitted.plain])  # (S, N, T)
        self.cases = self._cases(self.blend)

    @property
    def headline(self) -> str:
        """The figure by which models are compared."""
        return self.outcome.headline(len(self.data.targets))

    def metrics(self) -> dict[str, Any]:
        """As a manifest has them, the test part's alone."""
        seeds = [{"seed": seed, **self._values(answer)} for seed, answer in enumerate(self._by_seed())]
        known = {one.canonical for one in self.fitted.training.molecules}
        test = {
            **self._figures(self.blend),
            **self._coverage(),
            "also_in_training": sum(one.canonical in known for one in self.test.molecules),
        }
        each = cases(self.data, self.test, self.blend, self.outcome, Scale.none(len(self.data.targets)))
        return {
            "test": test,
            "subgroups": evaluate.subgroups(each, {"target": self.data.targets}),
            "seeds": seeds,
            "mean": _mean(seeds),
            "parts": {part: self._part(number) for number, part in enumerate(self.fitted.ensemble.parts)},
        }

    def baseline(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """The plain baseline, by seed and on average, and the version's gain over its mean answer."""
        answers = [
            self.fitted.alone(seen, scores)
            for seen, scores in zip(self.fitted.plain_seen, self.plain_scores, strict=True)
        ]
        seeds = [{"seed": seed, **self._values(answer)} for seed, answer in enumerate(answers)]
        mean, together = _mean(seeds), self._cases(np.mean(answers, axis=0))
        gain = {name: evaluate.paired(together, self.cases, name) for name in evaluate.names(self.cases)}
        return {
            "name": BASELINE,
            "mean": mean,
            "seeds": seeds,
            "gain": gain,
            "beaten": bool(self.outcome.better(metrics["mean"][self.headline], mean[self.headline])),
        }

    def _by_seed(self) -> list[Floats]:
        """Each seed's own blend, weighed and calibrated on its own validation answers."""
        seen = self.fitted.seen
        return [self.fitted.blend(seen[:, s]).answer(self.scores[:, s]) for s in range(seen.shape[1])]

    def _part(self, number: int) -> dict[str, Any]:
        seen, scores = self.fitted.seen[number], self.scores[number]
        seeds = [self._values(self.fitted.alone(one, other)) for one, other in zip(seen, scores, strict=True)]
        return {"weight": float(self.fitted.ensemble.blending.weights[number]), "mean": _mean(seeds), "seeds": seeds}

    def _cases(self, answer: Floats) -> Cases:
        return cases(self.data, self.test, answer, self.outcome, self.scale)

    def _mean_figure(self, answer: Floats, rows: NDArray[np.intp] | None = None) -> float:
        """The headline of several targets, of all molecules or of `rows`."""
        chosen = np.arange(len(answer)) if rows is None else rows
        labels, found = self.test.labels[chosen], answer[chosen]
        return self.outcome.mean_figure(self.scale.standardised(labels), self.scale.standardised(found))

    def _values(self, answer: Floats) -> dict[str, float]:
        found = evaluate.values(self._cases(answer))
        if len(self.data.targets) == 1:
            return found
        return {self.headline: round(self._mean_figure(answer), 4), **found}

    def _figures(self, answer: Floats) -> dict[str, Any]:
        found = evaluate.figures(self._cases(answer))
        if len(self.data.targets) == 1:
            return found
        random = np.random.default_rng(0)
        drawn = [self._mean_figure(answer, random.integers(0, len(answer), len(answer))) for _ in range(RESAMPLES)]
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        value = self._mean_figure(answer)
        mean = {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}
        return {"n": len(answer), "measurements": found.pop("n"), self.headline: mean, **found}

    def _coverage(self) -> dict[str, Any]:
        """The share of measured numbers that lie within their interval, with its 95 % interval."""
        half = self.fitted.ensemble.half
        if half is None or np.isnan(half).all():
            return {}
        within = np.where(np.isnan(half), np.nan, np.abs(self.blend - self.test.labels) <= half)
        within[np.isnan(self.test.labels)] = np.nan
        random = np.random.default_rng(0)
        drawn = [np.nanmean(within[random.integers(0, len(within), len(within))]) for _ in range(RESAMPLES)]
        low, high = np.quantile(drawn, [0.025, 0.975])
        found = {"value": float(np.nanmean(within)), "low": float(low), "high": float(high)}
        return {"coverage": {name: round(value, 4) for name, value in found.items()}}


def seen(fitted: Fitted) -> dict[str, Any]:
    """What the validation part says, by which the weights were chosen, in standardised labels: the blend's loss, and of
    each part its weight, the loss of its mean and each seed's headline."""
    outcome, wanted = fitted.outcome, fitted.scale.standardised(fitted.validation.labels)
    scores, weights = fitted.seen.mean(axis=1), fitted.ensemble.blending.weights
    together = blending.loss(np.tensordot(weights, scores, axes=1), wanted, outcome)
    parts = {}
    for part, weight, own, mean in zip(fitted.ensemble.parts, weights, fitted.seen, scores, strict=True):
        seeds = [round(outcome.mean_figure(wanted, one), 4) for one in own]
        loss = round(blending.loss(mean, wanted, outcome), 4)
        parts[part] = {"weight": float(weight), "loss": loss, "seeds": seeds}
    return {"loss": round(together, 4), "parts": parts}


def judged_in(scale: Scale) -> Scale:
    """In what answers are judged: one target in its own unit, several in spreads."""
    return Scale.none(1) if len(scale.centre) == 1 else scale


def cases(data: MoleculeSet, part: Part, answer: Floats, outcome: Outcome, scale: Scale) -> Cases:
    """Every measured pair of molecule and target, with the answer (N, T) that it was given, as `scale` has it."""
    rows, columns = np.nonzero(~np.isnan(part.labels))
    groups = {"target": columns.astype(np.int64)} if len(data.targets) > 1 else {}
    label, said = (scale.standardised(values)[rows, columns] for values in (part.labels, answer))
    return Cases(data.key[part.rows[rows]], outcome.columns(label, said), groups)


def _mean(seeds: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Each figure's mean over the seeds."""
    names = [name for name in seeds[0] if name != "seed"]
    return {name: round(float(np.mean([one[name] for one in seeds])), 4) for name in names}
