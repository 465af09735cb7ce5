"""From scores to a result's entry and its pictures, as http-api.md gives them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.drawing import evidence_caption, overlay, png
from jobs.predicting import Encoded, NewArtifact
from models.diagnosis import decoding
from models.diagnosis.decoding import Decoded
from models.diagnosis.evidence import boxes, spread

DIGITS = 6
NOT_SHOWN = "failed: this model's maps did not pass their audit, so none is shown"


@dataclass(frozen=True)
class Seen:
    """What the network says of the frame that counts (`frame`, from 0)."""

    probabilities: Sequence[float]
    distance: float
    """Mahalanobis distance over its threshold."""

    energy: float
    """Energy less its threshold."""

    frame: int


def encode(
    manifest: Mapping[str, Any], decoded: Decoded, seen: Seen, heat: NDArray[np.float32] | None, position: int
) -> Encoded:
    """Return the entry of the item at `position` (from 0), with its pictures if an explanation was asked for."""
    label = manifest["labels"][0]
    probability = round(seen.probabilities[label["class"]], DIGITS)
    item: dict[str, Any] = {
        "findings": [
            {
                "label": label["name"],
                "probability": probability,
                # Held against the printed number, so that a reader's own comparison never disagrees.
                "decision": "positive" if probability >= label["threshold"] else "negative",
                "threshold": label["threshold"],
                "regions": [],
            }
        ],
        **_uncertainty(manifest, seen),
        "evidence": [],
        "notes": [*_frame_note(decoded, seen), *decoded.notes],
    }
    if not decoded.explain:
        return Encoded(item)
    shown = decoding.native(decoded, seen.frame)
    artifacts = [NewArtifact(f"item-{position + 1}-image.png", "image/png", png(shown), position)]
    entry: dict[str, Any] = {"label": label["name"], "boxes": [], "artifact": None, "audit": NOT_SHOWN}
    if heat is not None:
        name = f"item-{position + 1}-evidence-{slug(label['name'])}.png"
        found, picture = draw(manifest["contract"], shown, heat)
        entry["boxes"] = [{"box": box, "frame": seen.frame + 1, "score": score} for box, score in found]
        entry["artifact"], entry["audit"] = name, "passed"
        artifacts.append(NewArtifact(name, "image/png", picture, position))
    item["evidence"] = [entry]
    return Encoded(item, tuple(artifacts))


def draw(
    contract: Mapping[str, Any], shown: NDArray[np.uint8], heat: NDArray[np.float32]
) -> tuple[list[tuple[tuple[int, int, int, int], float]], bytes]:
    """Return the boxes, in stored pixels, and the overlay as PNG, for a raw map (h, w) over a displayed image."""
    x, y, width, height = decoding.crop(*shown.shape, contract)
    rows, columns = int(contract["rows"]), int(contract["columns"])
    small = spread(heat, rows, columns)
    found = [(_scaled(box, (x, y, width, height), rows, columns), score) for box, score in boxes(small)]
    whole = np.zeros(shown.shape, dtype=np.float32)
    whole[y : y + height, x : x + width] = spread(heat, height, width)
    picture = overlay(shown, whole, [box for box, _ in found], caption=evidence_caption(rows, columns))
    return found, png(picture)


def slug(label: str) -> str:
    """Return a label as part of a file name: lower case letters and digits, the rest hyphens."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in label.lower()).strip("-")


def _scaled(
    box: tuple[int, int, int, int], seen: tuple[int, int, int, int], rows: int, columns: int
) -> tuple[int, int, int, int]:
    """Return a box of the model's input in stored pixels; edges are rounded outwards."""
    x, y, width, height = seen
    left, top = math.floor(box[0] * width / columns), math.floor(box[1] * height / rows)
    right = math.ceil((box[0] + box[2]) * width / columns)
    bottom = math.ceil((box[1] + box[3]) * height / rows)
    return x + left, y + top, right - left, bottom - top


def _uncertainty(manifest: Mapping[str, Any], seen: Seen) -> dict[str, Any]:
    """Return `prediction_set` and `uncertainty`; the model abstains where either says that it does not know."""
    classes, bounds = manifest["classes"], manifest["calibration"]["bounds"]
    possible = [c for c, p, bound in zip(classes, seen.probabilities, bounds, strict=True) if 1 - p <= bound]
    familiar = seen.distance <= 1 and seen.energy <= 0
    bits = -sum(p * math.log2(p) for p in seen.probabilities if p > 0)
    reason = None
    if not familiar:
        reason = "The image lies outside what the model was trained on; a clinician should read it."
    elif len(possible) != 1:
        what = "Several classes are" if possible else "No class is"
        reason = f"{what} plausible at the model's coverage; a clinician should read it."
    return {
        "prediction_set": possible,
        "uncertainty": {
            "entropy": round(max(0.0, bits), DIGITS),
            "ood_score": round(seen.distance, 4),
            "in_distribution": familiar,
            "abstain": reason is not None,
            "reason": reason,
        },
    }


def _frame_note(decoded: Decoded, seen: Seen) -> list[str]:
    """Say which of several frames the finding comes from."""
    if len(decoded.places) == 1:
        return []
    return [f"The finding is the highest of {len(decoded.places)} frames: frame {seen.frame + 1}."]
