"""report.html of a diagnosis: pictures inside, nothing fetched, fit to print. Imports no torch: the API draws it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image as Pillow

from jobs.results import DISCLAIMER, Report
from models.diagnosis.card import FIGURES
from models.page import POLICY, flat, template
from models.plots import reliability, roc
from models.training.card import WORDS

MOST_PICTURE_BYTES = 32 << 20
"""Pictures beyond this sum are named and not inlined: a browser should still open the page."""


def render(report: Report) -> str:
    """Return the page for a finished job."""
    text: str = template(Path(__file__).parent).render(
        job=report.job,
        result=report.result,
        items=list(_items(report)),
        manifest=report.manifest,
        figures=_figures(report.manifest),
        card=_card(report.manifest),
        plots=_plots(report.manifest),
        provenance=flat(report.result.get("provenance", {})),
        disclaimer=DISCLAIMER,
        policy=POLICY,
    )
    return text


def _items(report: Report) -> Sequence[dict[str, Any]]:
    """Return every item with its number (from 1) and its pictures, windowed image first."""
    room = MOST_PICTURE_BYTES
    found: list[dict[str, Any]] = []
    artifacts = [a for a in report.result.get("artifacts", ()) if a["media_type"] == "image/png"]
    for position, item in enumerate(report.result["items"]):
        maps = {e["artifact"]: e["label"] for e in item.get("evidence", ()) if e.get("artifact")}
        mine = sorted((a["name"] for a in artifacts if a.get("item") == position), key=lambda name: name in maps)
        pictures: list[dict[str, Any]] = []
        plain: bytes | None = None
        for name in mine:
            content = report.artifact(name)
            room -= len(content)
            words = f"Model evidence for {maps[name]}, not a cause" if name in maps else "Displayed image"
            if room < 0:
                pictures.append({"name": name, "words": words, "source": None})
                continue
            shown = like(content, plain) if name in maps and plain is not None else content
            plain = plain if name in maps else content
            source = Markup("data:image/png;base64,") + base64.b64encode(shown).decode()
            pictures.append({"name": name, "words": words, "source": source})
        found.append({"number": position + 1, "entry": item, "pictures": pictures})
    return found


def like(overlay: bytes, image: bytes) -> bytes:
    """Return an overlay cut to the size of the image it lies on, both PNG: its caption stands below the page's picture.

    Beside a small image the strip with the caption would be the larger part of the picture.
    """
    try:
        with Pillow.open(io.BytesIO(overlay)) as drawn, Pillow.open(io.BytesIO(image)) as below:
            cut = drawn.crop((0, 0, *below.size))
        out = io.BytesIO()
        cut.save(out, "PNG")
        return out.getvalue()
    except OSError:
        return overlay


def _figures(manifest: Mapping[str, Any] | None) -> list[tuple[str, Mapping[str, float], float, float]]:
    """Return (words, {value, low, high} of the shipped weights, mean of the seeds, baseline's mean) per figure."""
    if manifest is None or not (manifest.get("metrics") or {}).get("test"):
        return []
    metrics, baseline = manifest["metrics"], manifest["baseline"]["mean"]
    return [(words, metrics["test"][name], metrics["mean"][name], baseline[name]) for name, words in FIGURES.items()]


def _card(manifest: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return the card's facts as (title, text)."""
    if manifest is None:
        return []
    words = [(title, manifest["card"][key]) for key, title in WORDS.items() if key in manifest.get("card", {})]
    return [*words, ("Data", manifest["data"]["source"]), ("Licence", manifest["data"]["license"])]


def _plots(manifest: Mapping[str, Any] | None) -> list[Markup]:
    """Return the reliability diagram and the ROC curve as inline SVG."""
    if manifest is None or not (manifest.get("metrics") or {}).get("test"):
        return []
    test = manifest["metrics"]["test"]
    return [Markup(reliability(test["reliability"])), Markup(roc(test["roc"], test["auc"]))]  # noqa: S704
