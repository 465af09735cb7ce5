"""From a network's output to the result's entry, as http-api.md gives it, and its pictures. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imaging.drawing import evidence_caption, overlay, png
from jobs.predicting import Encoded, ModelVersion, NewArtifact
from models.diagnosis.calibration import entropy, prediction_set
from models.diagnosis.contracts import OwnContract
from models.diagnosis.pixels import Grey, boxes, placed, spread, stored_box

BROUGHT_NOTE = (
    "A model that was brought along: it has no calibration, no prediction sets, no test of whether an image is like "
    "its training data, and no evidence maps."
)


@dataclass(frozen=True)
class Manifest:
    """The parts of a manifest that turn numbers into an answer; `positive` is the index of the finding's class.

    `bounds`, `distance` and `energy` are None where a model was brought along without them.
    """

    classes: tuple[str, ...]
    label: str
    positive: int
    threshold: float
    temperature: float
    bounds: tuple[float, ...] | None
    distance: float | None
    energy: float | None
    contract: Mapping[str, Any]
    audit_passed: bool
    audit: str

    @classmethod
    def read(cls, version: ModelVersion) -> Manifest:
        """Read the manifest of a model version."""
        manifest = version.manifest
        label = manifest["labels"][0]
        calibration, audit = manifest["calibration"], manifest["audit"]
        passed = sum(audit["tests"].values())
        failed = [name for name, good in audit["tests"].items() if not good]
        words = f"{passed} of {len(audit['tests'])} tests passed"
        return cls(
            classes=tuple(manifest["classes"]),
            label=label["name"],
            positive=manifest["classes"].index(label["name"]),
            threshold=label["threshold"],
            temperature=calibration["temperature"],
            bounds=tuple(calibration["conformal"]["bounds"]),
            distance=calibration["ood"]["distance"],
            energy=calibration["ood"]["energy"],
            contract=manifest["contract"],
            audit_passed=audit["passed"],
            audit=words if audit["passed"] else f"{words}; failed {', '.join(failed)}: the map is not shown",
        )

    @classmethod
    def brought(cls, version: ModelVersion) -> Manifest:
        """Read the manifest of a version that somebody brought along: its contract says it all."""
        contract = version.manifest["contract"]
        return cls(
            classes=tuple(contract["classes"]),
            label=contract["positive"],
            positive=list(contract["classes"]).index(contract["positive"]),
            threshold=float(contract.get("threshold", 0.5)),
            temperature=1.0,
            bounds=None,
            distance=None,
            energy=None,
            contract=OwnContract.model_validate(contract).model_dump(mode="json"),
            audit_passed=False,
            audit="no audit: the model was brought along, and no map is shown",
        )


class Output(Protocol):
    """What `encode` reads of models.diagnosis.predictor.Output."""

    @property
    def frame(self) -> int: ...  # noqa: D102
    @property
    def probabilities(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def distance(self) -> float: ...  # noqa: D102
    @property
    def energy(self) -> float: ...  # noqa: D102
    @property
    def raw(self) -> NDArray[np.float32] | None: ...  # noqa: D102


def encode(
    manifest: Manifest, output: Output, frames: int, shown: Grey | None, notes: Sequence[str], position: int
) -> Encoded:
    """Return the entry for the item at `position`, and its PNGs where `shown` (the displayed frame) is given."""
    probability = float(output.probabilities[manifest.positive])
    classes = _conforming(manifest, output)
    counts = [f"Frame {output.frame + 1} of {frames} counts: the finding is most probable there."] if frames > 1 else []
    item: dict[str, Any] = {
        "findings": [
            {
                "label": manifest.label,
                "probability": round(probability, 6),
                "decision": "positive" if probability >= manifest.threshold else "negative",
                "threshold": manifest.threshold,
                "regions": [],
            }
        ],
        # No class conforms: nothing can be ruled out, so all are listed, which can only raise the coverage.
        "prediction_set": classes or (list(manifest.classes) if manifest.bounds is not None else []),
        "uncertainty": uncertainty(manifest, output, classes),
        "evidence": [],
        "notes": [*notes, *counts, *([] if manifest.bounds is not None else [BROUGHT_NOTE])],
    }
    if shown is None:
        return Encoded(item)
    entry, pictures = draw(manifest, output, shown, position)
    return Encoded({**item, "evidence": [entry]}, pictures)


def _conforming(manifest: Manifest, output: Output) -> list[str]:
    """The classes that conform to the image; none where the model has no bounds."""
    if manifest.bounds is None:
        return []
    return [manifest.classes[index] for index in prediction_set(output.probabilities, list(manifest.bounds))]


def uncertainty(manifest: Manifest, output: Output, classes: Sequence[str]) -> dict[str, Any]:
    """Return entropy, distance and whether to abstain; abstaining routes the image to a clinician.

    Only the distance decides `in_distribution`: on the chest model it finds every ultrasound image, negative and noise,
    while the energy finds hardly any of them and is high where the model is merely unsure, so it says just that.
    """
    spread_of = round(float(entropy(output.probabilities[None])[0]), 6)
    if manifest.distance is None or manifest.energy is None:
        return {"entropy": spread_of, "ood_score": None, "in_distribution": None, "abstain": False, "reason": None}
    score = output.distance / manifest.distance
    reason = None
    if score > 1:
        reason = f"The image is unlike those that the model was trained on: {score:.2f} times the distance allowed."
    elif output.energy > manifest.energy:
        reason = "The image gives the model little evidence for any class: its energy is above the one allowed."
    elif not classes:
        reason = "No class conforms to this image, so none can be ruled out."
    elif len(classes) > 1:
        reason = f"The model cannot tell {' from '.join(classes)} at its coverage."
    return {
        "entropy": spread_of,
        "ood_score": round(float(score), 4),
        "in_distribution": bool(score <= 1),
        "abstain": reason is not None,
        "reason": reason,
    }


def draw(
    manifest: Manifest, output: Output, shown: Grey, position: int
) -> tuple[dict[str, Any], tuple[NewArtifact, ...]]:
    """Return the evidence entry and the pictures: the displayed frame, and the overlay where the map may be shown."""
    rows, columns = shown.shape[:2]
    size = manifest.contract["input"]["rows"], manifest.contract["input"]["columns"]
    image = NewArtifact(f"image-{position}.png", "image/png", png(shown), position)
    entry: dict[str, Any] = {"label": manifest.label, "boxes": [], "artifact": None, "audit": manifest.audit}
    if output.raw is None:
        return entry, (image,)
    heat = spread(output.raw, *size)
    marked = [(stored_box(box, manifest.contract, rows, columns), score) for box, score in boxes(heat)]
    whole = placed(heat, rows, columns, manifest.contract["fit"])
    picture = overlay(shown, whole, [box for box, _ in marked], caption=evidence_caption(*size))
    name = f"evidence-{position}-{manifest.label}.png"
    entry["boxes"] = [{"box": list(box), "frame": output.frame + 1, "score": score} for box, score in marked]
    return {**entry, "artifact": name}, (image, NewArtifact(name, "image/png", png(picture), position))
