"""The shipped networks at work: an image file to findings, uncertainty and evidence. One forward pass a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imaging.reading import read_image
from jobs.errors import InputError, LimitExceeded, ModelUnusable
from jobs.kinds import Params
from jobs.predicting import Encoded, ModelVersion, Source
from models.diagnosis import novelty
from models.diagnosis.answer import Manifest, encode
from models.diagnosis.calibration import softmax
from models.diagnosis.contract import check
from models.diagnosis.evidence import evidence
from models.diagnosis.kind import DiagnosisParams
from models.diagnosis.networks import normalise
from models.diagnosis.own import OwnNetwork
from models.diagnosis.pixels import Grey, displayed, network_input
from models.diagnosis.precision import choose_precision, shaped
from models.diagnosis.weights import load_version

FRAMES_AT_ONCE = 256
"""Frames in one forward pass; a longer cine loop takes several."""


@dataclass(frozen=True)
class Decoded:
    """One item, ready for the network: `inputs` (F, side, side) uint8, and for each of its frames where it came from.

    `shown` is the displayed frame of an item of one frame that is to be explained; longer items read the frame that
    counts again when it is drawn, so that what waits for the model holds kilobytes and not a film.
    """

    inputs: Grey
    places: tuple[tuple[Path, int], ...]
    shown: Grey | None
    notes: tuple[str, ...]
    explain: bool


@dataclass(frozen=True)
class Output:
    """What the network says of one item, at the frame (from 0) where the finding is most probable.

    `probabilities` (classes,) are calibrated; `distance` and `energy` are those of the frame farthest from the
    training images; `raw` (h, w) is the evidence map, or None where no pictures were asked for.
    """

    frame: int
    probabilities: NDArray[np.float64]
    distance: float
    energy: float
    raw: NDArray[np.float32] | None


class _Images:
    """The part of a predictor that knows images and not networks."""

    max_batch = 64

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    def decode(self, source: Source, params: Params) -> Decoded:
        """Read one image, or the images of a series in slice order; raises `InputError`."""
        assert isinstance(params, DiagnosisParams)
        if not source.files:
            raise InputError("This model takes images; send the id of an uploaded DICOM or PNG file.")
        inputs: list[Grey] = []
        places: list[tuple[Path, int]] = []
        notes: dict[str, None] = {}
        shown: Grey | None = None
        for path in source.files:
            image = read_image(path)
            notes.update(dict.fromkeys((*check(image.header, self.manifest.contract), *image.notes)))
            for frame in range(len(image.frames)):
                shown = displayed(image, frame)
                inputs.append(network_input(shown, self.manifest.contract))
                places.append((path, frame))
            self._few_enough(len(inputs))
        kept = shown if params.explain and len(inputs) == 1 else None
        return Decoded(np.stack(inputs), tuple(places), kept, tuple(notes), params.explain)

    def encode(self, decoded: Decoded, output: Output, position: int) -> Encoded:
        """Return the result's entry and, where asked for, the windowed image and the overlay as PNG."""
        if not decoded.explain:
            return encode(self.manifest, output, len(decoded.inputs), None, decoded.notes, position)
        shown = decoded.shown
        if shown is None:
            path, frame = decoded.places[output.frame]
            shown = displayed(read_image(path), frame)
        return encode(self.manifest, output, len(decoded.inputs), shown, decoded.notes, position)

    def _few_enough(self, frames: int) -> None:
        """Refuse a series that has more frames than the contract lets one item have."""
        most = int(self.manifest.contract["max_frames"])
        if frames > most:
            detail = (
                f"The series has more than {most} frames, the most that this model takes as one item; send them apart."
            )
            raise LimitExceeded(detail, limit="max_frames", allowed=most)


class DiagnosisPredictor(_Images):
    """One model version on one device; see jobs.predicting.Predictor."""

    def __init__(self, version: ModelVersion, device: str) -> None:
        """Load, check the weights' checksum, and measure which precision the device may run at."""
        super().__init__(Manifest.read(version))
        network, extra = load_version(version)
        self.device = "cpu" if device.startswith("cpu") else device
        sample = normalise(extra["sample"].numpy())
        self.network, self.precision = choose_precision(
            network, sample, self.device, self.manifest.temperature, self.manifest.positive, self.manifest.threshold
        )
        self.means, self.whiten = extra["means"].to(self.device), extra["whiten"].to(self.device)
        with torch.no_grad():
            reference = normalise(extra["reference"].numpy()[None])
            self.reference = self.network.trunk(shaped(reference, self.precision.name, self.device))
        self.method = str(version.manifest["evidence"]["method"])

    def predict(self, batch: Sequence[Decoded]) -> list[Output]:
        """Run the trunk and tail once over all frames of the batch, then the tail again for what is to be explained."""
        x = normalise(np.concatenate([item.inputs for item in batch]))  # (F, 1, side, side)
        logits, distances, activations = self._forward(x)
        energies = novelty.energy(logits).numpy()
        probabilities = softmax(logits.double().numpy(), self.manifest.temperature)
        outputs: list[Output] = []
        first = 0
        chosen: list[int] = []
        for item in batch:
            frames = slice(first, first + len(item.inputs))
            frame = int(probabilities[frames, self.manifest.positive].argmax())
            chosen.append(first + frame)
            far, high = float(distances[frames].max()), float(energies[frames].max())
            outputs.append(Output(frame, probabilities[first + frame], far, high, None))
            first = frames.stop
        return self._explained(batch, outputs, activations, chosen)

    def provenance(self) -> dict[str, Any]:
        """Return device, measured precision, threads, and the libraries that shape the numbers."""
        return {**_machine(self.device), **self.precision.as_dict()}

    @torch.no_grad()
    def _forward(self, x: Tensor) -> tuple[Tensor, NDArray[np.float32], Tensor]:
        """Return logits (F, classes), distances (F,) and stage-3 activations (F, C, h, w) of normalised frames."""
        logits: list[Tensor] = []
        distances: list[Tensor] = []
        activations: list[Tensor] = []
        for part in torch.split(x, FRAMES_AT_ONCE):
            activation = self.network.trunk(shaped(part, self.precision.name, self.device))
            features, scores = self.network.tail(activation)
            distance = novelty.nearest(novelty.gather(activation, features), self.means, self.whiten)
            logits.append(scores.float().cpu())
            distances.append(distance.cpu())
            activations.append(activation)
        return torch.cat(logits), torch.cat(distances).numpy(), torch.cat(activations)

    def _explained(
        self, batch: Sequence[Decoded], outputs: list[Output], activations: Tensor, chosen: list[int]
    ) -> list[Output]:
        """Return the outputs with evidence maps for the items that asked; a map that failed its audit is not drawn."""
        asked = [number for number, item in enumerate(batch) if item.explain] if self.manifest.audit_passed else []
        if not asked:
            return outputs
        held = activations[[chosen[number] for number in asked]]
        reference = self.reference if self.method == "reference-cam" else None
        raw = evidence(self.network, held, self.manifest.positive, reference).cpu().numpy()
        explained = list(outputs)
        for row, number in enumerate(asked):
            explained[number] = replace(outputs[number], raw=raw[row])
        return explained


def _machine(device: str) -> dict[str, Any]:
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "instruction_set": torch.backends.cpu.get_cpu_capability() if device == "cpu" else None,
        "libraries": {"torch": torch.__version__, "numpy": np.__version__},
    }


class OwnPredictor(_Images):
    """A version that somebody brought along; see models/diagnosis/own.py."""

    def __init__(self, version: ModelVersion, device: str) -> None:
        """Raises `ModelUnusable`."""
        super().__init__(Manifest.brought(version))
        self.network = OwnNetwork(version, "cpu" if device.startswith("cpu") else device)

    def predict(self, batch: Sequence[Decoded]) -> list[Output]:
        """Run all frames of the batch; of an item the frame counts where the finding is most probable."""
        found = self.network.probabilities(np.concatenate([item.inputs for item in batch]))
        outputs: list[Output] = []
        first = 0
        for item in batch:
            frames = found[first : first + len(item.inputs)]
            frame = int(frames[:, self.manifest.positive].argmax())
            outputs.append(Output(frame, frames[frame], 0.0, 0.0, None))
            first += len(item.inputs)
        return outputs

    def provenance(self) -> dict[str, Any]:
        """Return device, precision, threads, and the libraries that shape the numbers."""
        return {**_machine(self.network.device), "precision": "fp32"}


def load(version: ModelVersion, device: str) -> DiagnosisPredictor | OwnPredictor:
    """Return the predictor of a model version on a device ("cpu", "cuda:0"); raises `ModelUnusable`."""
    if "calibration" not in version.manifest:
        return OwnPredictor(version, device)
    try:
        return DiagnosisPredictor(version, device)
    except KeyError as missing:
        raise ModelUnusable(f"The manifest or the weights lack {missing}.") from missing
