"""Prediction at work: patients to risks, course and what the risk rests on. One pass of the ensemble a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jobs.errors import InputError, JobError, ModelUnusable
from jobs.kinds import Params
from jobs.predicting import Encoded, ModelVersion, Source
from models.prediction import ensemble
from models.prediction.answer import Explanation, Output, encode
from models.prediction.attribution import integrated_gradients
from models.prediction.contract import Contract
from models.prediction.encoding import Batch
from models.prediction.ensemble import Ensemble
from models.prediction.kind import PredictionParams
from models.prediction.patients import Patient, parse
from models.prediction.splitting import split

ATTRIBUTED = ("value", "low", "high", "last", "static")
"""What of a batch the networks may read and the weights speak of. The first four say the same measurements of a bin in
four ways, so their weights are added up; what a network does not read weighs nothing."""

TREES_ALONE = "This version is made of trees alone, which have no gradient: its risk is not attributed."


@dataclass(frozen=True)
class Decoded:
    """One item, checked: the patient, and what was asked for."""

    patient: Patient
    params: PredictionParams


class PredictionPredictor:
    """One model version on one device; see jobs.predicting.Predictor."""

    max_batch = 512

    def __init__(self, manifest: Mapping[str, Any], parts: Ensemble, device: str) -> None:
        """Read the manifest; `parts` stand on `device` already."""
        self.contract = Contract.read(manifest["contract"])
        self.calibration = manifest.get("calibration") or {}
        self.device = device
        self.ensemble = parts

    def decode(self, source: Source, params: Params) -> Decoded:
        """Check one patient, inline, from the splitter or as a file of one; raises `InputError`."""
        assert isinstance(params, PredictionParams)
        unknown = set(params.horizons or ()) - set(self.contract.horizons)
        if unknown:
            words = ", ".join(f"{one:g}" for one in self.contract.horizons) or "none: its outcome has no time"
            raise InputError(f"Not every one of params.horizons is among those of this model ({words}).")
        patient = parse(source.data if not source.files else _only(source), self.contract)
        if params.explain and not self.ensemble.networks:
            patient = replace(patient, notes=(*patient.notes, TREES_ALONE))
        return Decoded(patient, params)

    def predict(self, batch: Sequence[Decoded]) -> list[Output]:
        """Run the ensemble once over the batch, then the gradients for the patients that asked."""
        encoded = self.ensemble.encoder.encode([one.patient for one in batch])
        found = self.ensemble.predict(encoded)
        asked = [number for number, one in enumerate(batch) if one.params.explain and self.ensemble.networks]
        drawn = [batch[number].params.picture for number in asked]
        explained = dict(zip(asked, self._explained(encoded, asked, drawn), strict=True)) if asked else {}
        return [
            Output(
                probabilities=found.probability[row],
                members=found.members[:, row],
                survival=None if found.survival is None else (found.survival.times, found.survival.curve[row]),
                ood=float(found.ood[row]),
                course=None if found.course is None else found.course[row],
                explanation=explained.get(row),
            )
            for row in range(len(batch))
        ]

    def encode(self, decoded: Decoded, output: Output, position: int) -> Encoded:
        """Return the result's entry and, where asked for, the picture of the course."""
        return encode(self.contract, self.calibration, decoded.patient, decoded.params, output, position)

    def provenance(self) -> dict[str, Any]:
        """Return device, precision, threads, and the libraries that shape the numbers."""
        return {
            "device": self.device,
            "precision": "float32",
            "threads": torch.get_num_threads(),
            "instruction_set": torch.backends.cpu.get_cpu_capability() if self.device == "cpu" else None,
            "libraries": {"torch": torch.__version__, "numpy": np.__version__},
        }

    def _explained(self, encoded: Batch, asked: Sequence[int], drawn: Sequence[bool]) -> list[Explanation]:
        """Attribute the networks' logit of the patients at `asked` to each value in each bin and each static value.

        From the baseline, where each value that was measured is the training population's mean: what was measured,
        and when, stays the same on the whole path, so the weights speak of values and not of the choice to measure.
        """
        own = encoded.take(asked).to(self.device)
        base = self.ensemble.baseline(own)

        def logit(rows: Tensor, inputs: Sequence[Tensor]) -> Tensor:
            value, low, high, last, static = inputs
            given = replace(own.take(rows), value=value, low=low, high=high, last=last, static=static)
            return self.ensemble.logit(given)

        inputs, bases = ([getattr(one, name) for name in ATTRIBUTED] for one in (own, base))
        # cuDNN has no gradient of a recurrent network that is not being trained; PyTorch's own kernels have.
        with torch.backends.cudnn.flags(enabled=False):
            found = integrated_gradients(logit, inputs, bases)
        *measured, statics = (one.double().cpu().numpy() for one in found.weights)
        values = np.sum(measured, axis=0)
        times, masks = own.time, own.mask.cpu().numpy() > 0
        # As dear as the weights, for it is a prediction after each bin: only for who is to be drawn.
        pictured = np.flatnonzero(drawn)
        risks = (
            dict(zip(pictured.tolist(), self.ensemble.over_time(own.take(pictured)), strict=True)) if any(drawn) else {}
        )
        explained = []
        for row, difference in enumerate(found.difference.tolist()):
            known = ~np.isnan(times[row])
            risk = risks[row][known] if row in risks else None
            parts = (values[row][known], statics[row], times[row][known], masks[row][known])
            explained.append(Explanation(*parts, risk, difference))
        return explained


def load(version: ModelVersion, device: str) -> PredictionPredictor:
    """Return the predictor of a model version on a device ("cpu", "cuda:0"); raises `ModelUnusable`."""
    place = "cpu" if device.startswith("cpu") else device
    try:
        return PredictionPredictor(version.manifest, ensemble.load(version, place), place)
    except KeyError as missing:
        raise ModelUnusable(f"The manifest or the weights lack {missing}.") from missing


def _only(source: Source) -> Any:
    """The data of the one patient that a file holds; raises `InputError`."""
    found: list[Source | JobError] = []
    for one in split(source.files[0]):
        found.append(one)
        if len(found) > 1:
            raise InputError("The file holds more than one patient, and one is expected here.")
    if isinstance(found[0], JobError):
        raise found[0]
    return found[0].data
