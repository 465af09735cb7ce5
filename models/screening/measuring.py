"""Figures of a screening model on the test part: of the version, of each seed, of each part, and of the baseline.

With several targets a case of cases.npz is a molecule and a target that was measured, and the target is its subgroup;
the figure that counts is then the mean of the targets' AUC, as MoleculeNet reports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.cases import Cases
from models.data.canonical import MoleculeSet
from models.prediction import evaluate
from models.screening import blending, features, members
from models.screening.members import BASELINE, Fitted
from models.screening.preparing import Part
from models.screening.tasks import mean_auc

Floats = NDArray[np.float64]

RESAMPLES = 500


class Measured:
    """Everything that is said of the test part `test`."""

    def __init__(self, fitted: Fitted, data: MoleculeSet, test: Part, seed: int) -> None:
        """Answers all test molecules with every part once. `seed` is the job's."""
        self.fitted, self.data, self.test, self.seed = fitted, data, test, seed
        self.logits = fitted.every_part().parted(test.molecules)  # (P, S, N, T)
        self.blend = fitted.ensemble.blending.probability(self.logits.mean(axis=1))
        bits = features.bits(test.molecules)
        self.plain_logits = np.stack([trees(bits) for trees in fitted.plain])  # (S, N, T)
        self.cases = self._cases(self.blend)

    @property
    def headline(self) -> str:
        """The figure by which models are compared."""
        return "mean_auc" if len(self.data.targets) > 1 else "auc"

    def metrics(self) -> dict[str, Any]:
        """As a manifest has them, the test part's alone."""
        seeds = [{"seed": seed, **self._values(p)} for seed, p in enumerate(self._by_seed())]
        known = {one.canonical for one in self.fitted.training.molecules}
        test = {
            **self._figures(self.blend),
            "also_in_training": sum(one.canonical in known for one in self.test.molecules),
        }
        return {
            "test": test,
            "subgroups": evaluate.subgroups(self.cases, {"target": self.data.targets}),
            "seeds": seeds,
            "mean": _mean(seeds),
            "parts": {part: self._part(number) for number, part in enumerate(self.fitted.ensemble.parts)},
        }

    def baseline(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """The plain baseline, by seed and on average, and the version's gain over its mean answer."""
        labels = self.fitted.validation.labels
        answers = [
            members.alone(seen, labels, logits)
            for seen, logits in zip(self.fitted.plain_seen, self.plain_logits, strict=True)
        ]
        seeds = [{"seed": seed, **self._values(p)} for seed, p in enumerate(answers)]
        mean, together = _mean(seeds), self._cases(np.mean(answers, axis=0))
        gain = {name: evaluate.paired(together, self.cases, name) for name in evaluate.names(self.cases)}
        return {
            "name": BASELINE,
            "mean": mean,
            "seeds": seeds,
            "gain": gain,
            "beaten": bool(metrics["mean"][self.headline] > mean[self.headline]),
        }

    def _by_seed(self) -> list[Floats]:
        """Each seed's own blend, weighed and calibrated on its own validation answers."""
        seen, labels = self.fitted.seen, self.fitted.validation.labels
        return [blending.fit(seen[:, seed], labels).probability(self.logits[:, seed]) for seed in range(seen.shape[1])]

    def _part(self, number: int) -> dict[str, Any]:
        seen, labels = self.fitted.seen[number], self.fitted.validation.labels
        answers = [members.alone(seen[s], labels, self.logits[number, s]) for s in range(len(seen))]
        seeds = [self._values(p) for p in answers]
        return {"weight": float(self.fitted.ensemble.blending.weights[number]), "mean": _mean(seeds), "seeds": seeds}

    def _cases(self, p: Floats) -> Cases:
        return cases(self.data, self.test, p)

    def _values(self, p: Floats) -> dict[str, float]:
        found = evaluate.values(self._cases(p))
        if len(self.data.targets) == 1:
            return found
        return {"mean_auc": round(mean_auc(self.test.labels, p), 4), **found}

    def _figures(self, p: Floats) -> dict[str, Any]:
        found = evaluate.figures(self._cases(p))
        if len(self.data.targets) == 1:
            return found
        random = np.random.default_rng(0)
        drawn = []
        for _ in range(RESAMPLES):
            rows = random.integers(0, len(p), len(p))
            drawn.append(mean_auc(self.test.labels[rows], p[rows]))
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        value = mean_auc(self.test.labels, p)
        mean = {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}
        return {"n": len(p), "measurements": found.pop("n"), "mean_auc": mean, **found}


def cases(data: MoleculeSet, part: Part, p: Floats) -> Cases:
    """Every measured pair of molecule and target, with the probability (N, T) that it was given."""
    rows, columns = np.nonzero(~np.isnan(part.labels))
    groups = {"target": columns.astype(np.int64)} if len(data.targets) > 1 else {}
    found = {"y": part.labels[rows, columns].astype(np.float64), "p": p[rows, columns].astype(np.float64)}
    return Cases(data.key[part.rows[rows]], found, groups)


def _mean(seeds: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Each figure's mean over the seeds."""
    names = [name for name in seeds[0] if name != "seed"]
    return {name: round(float(np.mean([one[name] for one in seeds])), 4) for name in names}
