"""A trained version at work: its members, read from its files, over many molecules at once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jobs.errors import ModelUnusable
from jobs.predicting import ModelVersion
from models.diagnosis.weights import unpack
from models.screening import boosting, features, graphs, lstm, mpnn, spelling
from models.screening.blending import Blending
from models.screening.boosting import Trees
from models.screening.domain import Domain
from models.screening.molecules import Molecule
from models.screening.outcome import OUTCOMES, Outcome
from models.screening.spelling import Vocabulary

Floats = NDArray[np.float64]

WEIGHTS, TREES = "weights.safetensors", "trees-{}-{}.json.xz"
CHUNK = 256
"""Molecules in one forward pass."""

BUILD = {"smiles-lstm": lstm.build, "d-mpnn": mpnn.build}
READ = {"boosting": features.table, "ecfp-boosting": features.bits}
"""What the trees of a part read of molecules."""


@dataclass(frozen=True)
class Answer:
    """Of N molecules and T targets: `value` (N, T), a calibrated probability or a number in the target's unit, `spread`
    (N, T), and `half` (T,): how far the interval of a number reaches to each side, NaN where there is none."""

    value: Floats
    spread: Floats
    half: Floats | None = None


@dataclass(frozen=True)
class Ensemble:
    """Member s of every part was trained with seed s. `units`: of each target, or none; `views`: spellings that the
    LSTM averages; `half`: as of an `Answer`."""

    targets: tuple[str, ...]
    parts: tuple[str, ...]
    networks: Mapping[str, Sequence[nn.Module]]
    trees: Mapping[str, Sequence[Trees]]
    vocabulary: Vocabulary
    blending: Blending
    domain: Domain
    units: tuple[str, ...] = ()
    views: int = 1
    device: str = "cpu"
    half: Floats | None = None

    @property
    def outcome(self) -> Outcome:
        """What the targets are."""
        return self.blending.outcome

    def unit(self, target: str) -> str:
        """Of a target; empty where it has none."""
        return self.units[self.targets.index(target)] if self.units else ""

    def parted(self, molecules: Sequence[Molecule], views: int | None = None) -> Floats:
        """Each member's scores by part, (P, S, N, T). A part of no weight is left out: its scores are 0."""
        used = [part for part, weight in zip(self.parts, self.blending.weights, strict=True) if weight > 0]
        found = {part: self._scores(part, molecules, views or self.views) for part in used}
        nothing = np.zeros_like(next(iter(found.values())))
        return np.stack([found.get(part, nothing) for part in self.parts])

    def answer(self, molecules: Sequence[Molecule], views: int | None = None) -> Answer:
        """Answers, and how far the members of the blend disagree: their weighted standard deviation."""
        scores = self.parted(molecules, views)
        value = self.blending.answer(scores.mean(axis=1))
        members = self.blending.calibrated(scores)  # (P, S, N, T)
        weight = np.repeat(self.blending.weights[:, None], members.shape[1], axis=1) / members.shape[1]
        spread = np.sqrt((weight[..., None, None] * (members - value) ** 2).sum(axis=(0, 1)))
        return Answer(value, spread, self.half)

    def _scores(self, part: str, molecules: Sequence[Molecule], views: int) -> Floats:
        """One part's scores, (S, N, T)."""
        if part in READ:
            table = READ[part](molecules)
            return np.stack([trees(table) for trees in self.trees[part]])
        if part == "smiles-lstm":
            return lstm_scores(self.networks[part], self.vocabulary, molecules, views, self.device)
        return mpnn_scores(self.networks[part], molecules, self.device)


@torch.inference_mode()
def lstm_scores(
    networks: Sequence[nn.Module], vocabulary: Vocabulary, molecules: Sequence[Molecule], views: int, device: str
) -> Floats:
    """Mean scores over `views` spellings, (S, N, T)."""
    total: Floats | None = None
    for number in range(views):
        texts = [spelling.view(one, number) for one in molecules]
        found = [_by_length(network, vocabulary, texts, device) for network in networks]
        total = np.stack(found) if total is None else total + np.stack(found)
    assert total is not None
    return total / views


def _by_length(network: nn.Module, vocabulary: Vocabulary, texts: Sequence[str], device: str) -> Floats:
    """One network's scores (N, T). Spellings of like length go together: padding costs as much as letters do."""
    order = np.argsort([len(text) for text in texts], kind="stable")
    pieces = []
    for start in range(0, len(order), CHUNK):
        codes, lengths = vocabulary.encode([texts[row] for row in order[start : start + CHUNK]])
        pieces.append(network(codes.to(device), lengths).double().cpu().numpy())
    found = np.concatenate(pieces)
    back = np.empty_like(found)
    back[order] = found
    return back


@torch.inference_mode()
def mpnn_scores(networks: Sequence[nn.Module], molecules: Sequence[Molecule], device: str) -> Floats:
    """The message passing networks' scores, (S, N, T)."""
    pieces = []
    for start in range(0, len(molecules), CHUNK):
        batch = graphs.batch([graphs.graph(one) for one in molecules[start : start + CHUNK]]).to(device)
        pieces.append(np.stack([network(batch).double().cpu().numpy() for network in networks]))
    return np.concatenate(pieces, axis=1)


def load(version: ModelVersion, device: str = "cpu") -> Ensemble:
    """A version ready to answer; raises `ModelUnusable` where files and manifest do not fit each other."""
    manifest = version.manifest
    try:
        tensors = safetensors.torch.load(_read(version, WEIGHTS, str(manifest["weights"]["sha256"])))
        trees = {
            part: [
                Trees(boosting.unpack(_read(version, TREES.format(part, number), digest)))
                for number, digest in enumerate(digests)
            ]
            for part, digests in manifest["trees"].items()
        }
        return _assembled(manifest, tensors, trees, device)
    except (KeyError, ValueError, RuntimeError) as cause:
        name = f"{version.name}@{version.version}"
        raise ModelUnusable(f"The weights of {name} do not fit its manifest; install the model again.") from cause


def _assembled(
    manifest: Mapping[str, Any], tensors: Mapping[str, Tensor], trees: Mapping[str, Sequence[Trees]], device: str
) -> Ensemble:
    own = manifest["blend"]
    networks = {
        part: [network(part, config, tensors, f"{part}.{member}.", device) for member in range(manifest["members"])]
        for part, config in manifest["network"]["config"].items()
    }
    limit = float(manifest["domain"]["limit"])
    domain = Domain.read(tensors["domain.places"].numpy(), tensors["domain.counts"].numpy(), limit)
    contract = manifest["contract"]
    # Versions of before there were numbers say nothing of it.
    outcome = OUTCOMES[contract.get("values", "classes")]
    blending = Blending(np.array(own["weights"]), np.array(own["calibration"]), outcome)
    targets, units = tuple(contract["targets"]), tuple(contract.get("units", ()))
    half = np.array(own["half_width"], dtype=np.float64) if own.get("half_width") is not None else None
    vocabulary = Vocabulary(manifest["vocabulary"])
    return Ensemble(
        targets, tuple(own["parts"]), networks, trees, vocabulary, blending, domain, units, own["views"], device, half
    )


def network(part: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor], prefix: str, device: str) -> nn.Module:
    """One member with the weights that stand under `prefix`, ready on the device."""
    made = BUILD[part](config)
    state = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    made.load_state_dict(unpack(state))
    return made.to(device).eval()


def _read(version: ModelVersion, name: str, sha256: str) -> bytes:
    try:
        content = (version.folder / name).read_bytes()
    except OSError as cause:
        raise ModelUnusable(f"{name} cannot be read; install the model again.") from cause
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelUnusable(f"{name} differs from the manifest's sha256; install the model again.")
    return content
