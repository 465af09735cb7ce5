"""The diagnosis kind's predictor: bytes -> frames -> one forward pass for the batch -> findings and evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.kinds import Params
from jobs.predicting import Encoded, ModelVersion, Source
from models.diagnosis import decoding, encoding, precision
from models.diagnosis.decoding import Decoded
from models.diagnosis.evidence import grad_cam
from models.diagnosis.networks import Network
from models.diagnosis.novelty import Familiar, energy, gather
from models.diagnosis.weights import load_version

MAX_BATCH = 64
"""Items of one predict. At 28 px a larger batch is no faster on a CPU, and a neighbour waits longer for it."""

CHUNK = 128
"""Frames of one forward pass; a multi-frame item may bring hundreds."""


@dataclass(frozen=True)
class Scores:
    """What the network says of frames, on the CPU."""

    probabilities: list[list[float]]
    """(F, classes), calibrated."""

    distance: list[float]
    """Mahalanobis distance over its threshold, (F,)."""

    energy: list[float]
    """Energy less its threshold, (F,): above 0 is far."""


@dataclass(frozen=True)
class Prediction:
    """One item's output: its scores, frame by frame, which frame counts, and the raw map there."""

    scores: Scores
    frame: int
    heat: NDArray[np.float32] | None


class DiagnosisPredictor:
    """A loaded diagnosis model on one device."""

    max_batch = MAX_BATCH

    def __init__(self, version: ModelVersion, device: str) -> None:
        """Read the weights, choose the precision by measurement; raises `ModelUnusable`."""
        network, extra = load_version(version)
        self.version, self.manifest = version, version.manifest
        self.contract: Mapping[str, Any] = version.manifest["contract"]
        self.device = torch.device(device)
        calibration = version.manifest["calibration"]
        self.temperature = float(calibration["temperature"])
        self.positive = int(version.manifest["labels"][0]["class"])
        self.shows_evidence = bool(version.manifest["audit"]["passed"])
        self.familiar = Familiar(
            extra["means"].float().to(self.device), extra["whiten"].float().to(self.device),
            float(calibration["ood"]["distance"]), float(calibration["ood"]["energy"]),
        )  # fmt: skip
        self._whitened = self.familiar.means @ self.familiar.whiten
        self.network: Network = network.to(self.device)
        self.choice = precision.choose(self, extra["prototypes"], version.weights_sha256 or "")
        if self.choice.precision == "bf16":
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def decode(self, source: Source, params: Params) -> Decoded:
        """Bytes to frames at the model's resolution; raises `InputError`."""
        return decoding.decode(source.files, self.contract, bool(getattr(params, "explain", True)))

    def predict(self, batch: Sequence[Decoded]) -> list[Prediction]:
        """One forward pass over the frames of all items; an item's finding is that of its most suspicious frame."""
        images = np.concatenate([item.frames for item in batch])
        wanted = self.shows_evidence and any(item.explain for item in batch)
        scores, activations = self.scores(images, self.choice.precision, keep=wanted)
        found: list[Prediction] = []
        rows: list[int] = []
        first = 0
        for item in batch:
            last = first + len(item.frames)
            own = Scores(scores.probabilities[first:last], scores.distance[first:last], scores.energy[first:last])
            suspicion = [row[self.positive] for row in own.probabilities]
            found.append(Prediction(own, max(range(len(suspicion)), key=suspicion.__getitem__), None))
            rows.append(first + found[-1].frame)
            first = last
        if wanted:
            explained = [n for n, item in enumerate(batch) if item.explain]
            maps = self._maps(activations, [rows[n] for n in explained])
            for n, heat in zip(explained, maps, strict=True):
                found[n] = Prediction(found[n].scores, found[n].frame, heat)
        return found

    def encode(self, decoded: Decoded, output: Prediction, position: int) -> Encoded:
        """The result's entry, and the two pictures where the caller wants an explanation."""
        scores = output.scores
        seen = encoding.Seen(
            scores.probabilities[output.frame], scores.distance[output.frame], scores.energy[output.frame], output.frame
        )
        return encoding.encode(self.manifest, decoded, seen, output.heat, position)

    def provenance(self) -> dict[str, Any]:
        """Device, precision and how it was chosen, threads, input size, library versions."""
        return {
            "device": str(self.device),
            "precision": self.choice.precision,
            "precision_check": self.choice.as_dict(),
            "threads": torch.get_num_threads(),
            "model_input": [int(self.contract["rows"]), int(self.contract["columns"])],
            "libraries": {"torch": torch.__version__, "numpy": np.__version__},
        }

    def scores(self, images: NDArray[np.uint8], name: str, keep: bool = False) -> tuple[Scores, list[Tensor]]:
        """Run frames (F, rows, columns) uint8 at a precision; with `keep` also stage-3 activations by chunk."""
        kept: list[Tensor] = []
        rows: list[list[list[float]]] = [[], [], []]
        with torch.inference_mode():
            for at in range(0, len(images), CHUNK):
                activation, probabilities, distance, far = self._forward(images[at : at + CHUNK], name)
                if keep:
                    kept.append(activation)
                # One transfer for the chunk: a call per image would cost more than the network.
                table = torch.cat([probabilities, distance[:, None], far[:, None]], dim=1).tolist()
                rows[0] += [row[:-2] for row in table]
                rows[1].append([row[-2] for row in table])
                rows[2].append([row[-1] for row in table])
        return Scores(rows[0], _joined(rows[1]), _joined(rows[2])), kept

    def _forward(self, images: NDArray[np.uint8], name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return activation, probabilities (F, classes), distance ratio (F,) and energy excess (F,)."""
        x = torch.from_numpy(images).to(self.device).unsqueeze(1).float().div_(127.5).sub_(1)  # (F, 1, H, W)
        if name == "bf16":
            x = x.to(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=name == "bf16"):
            activation = self.network.trunk(x)
            features, logits = self.network.tail(activation)
        logits = logits.float()
        probabilities = torch.softmax(logits / self.temperature, dim=1)
        whitened = gather(activation, features) @ self.familiar.whiten
        distance = torch.cdist(whitened, self._whitened).amin(dim=1) / self.familiar.distance
        return activation, probabilities, distance, energy(logits) - self.familiar.energy

    def _maps(self, activations: Sequence[Tensor], rows: Sequence[int]) -> NDArray[np.float32]:
        """Return the raw maps (len(rows), h, w) of these frames."""
        # Copied outside of inference mode, the activation may take part in a gradient.
        chosen = torch.stack([activations[row // CHUNK][row % CHUNK] for row in rows]).float()
        maps: NDArray[np.float32] = grad_cam(self.network, chosen, self.positive).cpu().numpy()
        return maps


def _joined(parts: Sequence[list[float]]) -> list[float]:
    return [value for part in parts for value in part]


def load(version: ModelVersion, device: str) -> DiagnosisPredictor:
    """Load a model version onto `device` ("cpu", "cuda:0"); raises `ModelUnusable`."""
    return DiagnosisPredictor(version, device)
