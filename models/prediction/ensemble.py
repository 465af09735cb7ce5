"""A trained version at work: read from its files; members, calibration, spread, distance. What predictor.py calls."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jobs.errors import ModelUnusable
from jobs.predicting import ModelVersion
from models.prediction import features, stack, survival
from models.prediction.boosting import Trees
from models.prediction.course import Course, read
from models.prediction.encoding import Batch, Encoder
from models.prediction.familiar import Familiar
from models.prediction.networks import build

Floats = NDArray[np.float64]

WEIGHTS, TREES = "weights.safetensors", "trees-{}.txt"


@dataclass(frozen=True)
class Curve:
    """Probability of no event, `curve` (N, H) at `times` (H,) after the last measurement."""

    times: Floats
    curve: Floats


@dataclass(frozen=True)
class Output:
    """Of N patients: calibrated `probability` (N, H) at each horizon (one where there is none), that of each member
    `members` (M, N, H), `ood` (N,) the distance over its limit, the curve and the course where the model has them.
    """

    probability: Floats
    members: Floats
    ood: Floats
    survival: Curve | None = None
    course: list[dict[str, Any] | None] | None = None


def baseline(batch: Batch) -> Batch:
    """Return the batch with every value that is known at the training population's mean."""
    mean, static = torch.zeros_like(batch.value), torch.zeros_like(batch.static)
    return replace(batch, value=mean, low=mean, high=mean, last=mean, static=static)


@dataclass(frozen=True)
class RiskEnsemble:
    """For an outcome of yes or no. Member m is one network or one set of trees of each part; all were trained without
    the m-th inner fold. `weights` (1 + P,): the stack over the parts, in the order of `parts`.
    """

    encoder: Encoder
    parts: tuple[str, ...]
    networks: Mapping[str, Sequence[nn.Module]]
    trees: Sequence[Trees]
    weights: Floats
    familiar: Familiar
    device: str = "cpu"

    @torch.no_grad()
    def parted(self, batch: Batch) -> Floats:
        """Return each member's logit of each part, (M, N, P)."""
        table = features.table(batch, self.encoder.bins) if "boosting" in self.parts else np.empty((len(batch), 0))
        moved = batch.to(self.device)
        columns = []
        for part in self.parts:
            if part == "boosting":
                columns.append(np.stack([trees(table) for trees in self.trees]))
            else:
                columns.append(np.stack([one(moved).double().cpu().numpy() for one in self.networks[part]]))
        return np.stack(columns, axis=2)

    def predict(self, batch: Batch) -> Output:
        """Return risks, spread and distance."""
        parted = self.parted(batch)
        risk = stack.sigmoid(stack.apply(self.weights, parted.mean(axis=0)))  # (N,)
        members = stack.sigmoid(stack.apply(self.weights, parted))  # (M, N)
        return Output(risk[:, None], members[:, :, None], self.familiar.score(features.profile(batch)))

    def logit(self, batch: Batch) -> Tensor:
        """Return what the networks add to the stack's logit, (N,), differentiable in `value` and `static`.

        Trees have no gradient: what they add is not in it, and a model of trees alone has a logit of 0.
        """
        moved = batch.to(self.device)
        total = 0.0 * (moved.value.sum(dim=(1, 2)) + moved.static.sum(dim=1))
        for part, weight in zip(self.parts, self.weights[1:], strict=True):
            if part in self.networks:
                logits = torch.stack([network(moved) for network in self.networks[part]])
                total = total + float(weight) * logits.mean(dim=0)
        return total

    def baseline(self, batch: Batch) -> Batch:
        """Return the same measurements, each at the mean."""
        return baseline(batch)

    def over_time(self, batch: Batch) -> Floats:
        """Return the risk with what was known at the end of each bin, (N, T); the last is the answer's."""
        found = []
        for bins in range(1, batch.value.shape[1] + 1):
            logits = self.parted(batch.until(bins)).mean(axis=0)
            found.append(stack.sigmoid(stack.apply(self.weights, logits)))
        return np.stack(found, axis=1)


@dataclass(frozen=True)
class SurvivalEnsemble:
    """For an event at an unknown time: networks that were each trained without one inner fold, averaged as curves.

    `ends` (K + 1,) of the intervals, `horizons` (H,) at which risks are told.
    """

    encoder: Encoder
    networks: Sequence[nn.Module]
    ends: Floats
    horizons: Floats
    familiar: Familiar
    course: Course | None = None
    device: str = "cpu"

    @torch.no_grad()
    def hazards(self, batch: Batch) -> Floats:
        """Return the logits of the hazards after each visit, (M, N, T, K)."""
        moved = batch.to(self.device)
        return np.stack([network(moved).double().cpu().numpy() for network in self.networks])

    def predict(self, batch: Batch) -> Output:
        """Return risks at the horizons after the last visit, the curve, the course, spread and distance."""
        rows, ends = np.arange(len(batch)), last_visit(batch)
        logits = self.hazards(batch)[:, rows, ends]  # (M, N, K)
        members = 1 - survival.curve(logits, self.ends, self.horizons)
        alive = survival.curve(logits, self.ends, self.ends).mean(axis=0)
        ood = self.familiar.score(features.profile(batch))
        course = None if self.course is None else self.course.after(batch)
        return Output(members.mean(axis=0), members, ood, Curve(self.ends, alive), course)

    def logit(self, batch: Batch) -> Tensor:
        """Return the mean logit of the hazard in the first interval after the last visit, (N,), differentiable."""
        moved = batch.to(self.device)
        rows, ends = torch.arange(len(batch)), torch.from_numpy(last_visit(batch))
        return torch.stack([network(moved)[rows, ends, 0] for network in self.networks]).mean(dim=0)

    def baseline(self, batch: Batch) -> Batch:
        """Return the same measurements, each at the mean."""
        return baseline(batch)

    def over_time(self, batch: Batch) -> Floats:
        """Return the risk at the first horizon after each visit, (N, T): a GRU reads forwards, one pass tells all."""
        alive = survival.curve(self.hazards(batch), self.ends, self.horizons[:1])
        risk: Floats = 1 - alive.mean(axis=0)[..., 0]
        return risk


Ensemble = RiskEnsemble | SurvivalEnsemble


def load(version: ModelVersion, device: str = "cpu") -> Ensemble:
    """Return a version ready to answer; raises `ModelUnusable` where files and manifest do not fit each other."""
    manifest = version.manifest
    try:
        tensors = safetensors.torch.load(_read(version, WEIGHTS, str(manifest["weights"]["sha256"])))
        texts = [
            _read(version, TREES.format(number), sha256).decode() for number, sha256 in enumerate(manifest["trees"])
        ]
        encoder = Encoder.from_manifest(manifest)
        familiar = Familiar(
            tensors["ood.mean"].numpy(), tensors["ood.whiten"].double().numpy(), float(manifest["ood"]["limit"])
        )
        if manifest["contract"]["outcome"]["kind"] == "binary":
            return _risk(manifest, tensors, texts, encoder, familiar, device)
        return _survival(manifest, tensors, texts, encoder, familiar, device)
    except (KeyError, ValueError, RuntimeError) as cause:
        name = f"{version.name}@{version.version}"
        raise ModelUnusable(f"The weights of {name} do not fit its manifest; install the model again.") from cause


def _risk(
    manifest: Mapping[str, Any], tensors: Mapping[str, Tensor], texts: Sequence[str], encoder: Encoder,
    familiar: Familiar, device: str,
) -> RiskEnsemble:  # fmt: skip
    own = manifest["stack"]
    configs = manifest["network"]["config"]
    networks = {
        part: [_network(part, configs[part], tensors, f"{part}.{m}.", device) for m in range(manifest["members"])]
        for part in own["parts"]
        if part != "boosting"
    }
    weights = np.array(own["weights"], dtype=np.float64)
    return RiskEnsemble(encoder, tuple(own["parts"]), networks, [Trees(t) for t in texts], weights, familiar, device)


def _survival(
    manifest: Mapping[str, Any], tensors: Mapping[str, Tensor], texts: Sequence[str], encoder: Encoder,
    familiar: Familiar, device: str,
) -> SurvivalEnsemble:  # fmt: skip
    config = manifest["network"]["config"]
    networks = [
        _network("survival-gru", config, tensors, f"survival-gru.{m}.", device) for m in range(manifest["members"])
    ]
    ends = np.array(manifest["intervals"], dtype=np.float64)
    horizons = np.array(manifest["contract"]["outcome"]["horizons"], dtype=np.float64)
    goes_on = None if manifest["course"] is None else read(manifest, encoder, list(texts))
    return SurvivalEnsemble(encoder, networks, ends, horizons, familiar, goes_on, device)


def _network(
    architecture: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor], prefix: str, device: str
) -> nn.Module:
    network = build(architecture, config)
    state = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    network.load_state_dict(state)
    return network.to(device).eval()


def _read(version: ModelVersion, name: str, sha256: str) -> bytes:
    try:
        content = (version.folder / name).read_bytes()
    except OSError as cause:
        raise ModelUnusable(f"The file {name} of the model cannot be read; install the model again.") from cause
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelUnusable(f"The file {name} differs from the manifest's sha256; install the model again.")
    return content


def last_visit(batch: Batch) -> NDArray[np.int64]:
    """Return the position of each patient's last visit, (N,)."""
    visits: NDArray[np.int64] = (~np.isnan(batch.time)).sum(axis=1)
    return np.maximum(visits - 1, 0)
