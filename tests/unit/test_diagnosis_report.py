"""report.html of a diagnosis: complete, self-contained, and never a way to run what a stranger typed."""

from __future__ import annotations

import base64
import html
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from imaging.drawing import png
from imaging.pngfile import pixels
from jobs.results import DISCLAIMER, Report
from models.diagnosis.report import MOST_PICTURE_BYTES, like, render
from models.page import flat
from models.plots import reliability, roc

EVIL = "<script>alert('x')</script>\"'&"
FIGURE = {"value": 0.9712, "low": 0.95, "high": 0.99}
NAMES = ("auc", "accuracy", "sensitivity", "specificity", "ece", "ece_if_perfect")


def manifest(**change: Any) -> dict[str, Any]:
    mean = dict.fromkeys(NAMES, 0.9611)
    return {
        "summary": "A model.",
        "data": {"name": "someset", "source": EVIL, "license": "CC BY 4.0"},
        "card": {"intended_use": EVIL},
        "metrics": {
            "test": {
                "n": 624,
                **dict.fromkeys(NAMES, FIGURE),
                "reliability": [{"predicted": 0.25, "observed": 0.5, "count": 4}],
                "roc": [[0, 0], [0.1, 0.9], [1, 1]],
            },
            "seeds": [{"seed": 0}],
            "mean": mean,
        },
        "baseline": {"name": "cnn-basic", "mean": dict.fromkeys(NAMES, 0.9511), "beaten": True},
        **change,
    }


def item(**change: Any) -> dict[str, Any]:
    finding = {"label": EVIL, "probability": 0.873, "decision": "positive", "threshold": 0.62, "regions": []}
    doubt = {"entropy": 0.55, "ood_score": 1.7, "in_distribution": False, "abstain": True, "reason": EVIL}
    evidence = [{"label": EVIL, "boxes": [], "artifact": "evidence-0.png", "audit": "5 of 5 tests passed"}]
    entry = {"findings": [finding], "prediction_set": [EVIL, "normal"], "uncertainty": doubt, "evidence": evidence}
    return {**entry, "notes": [EVIL], **change}


def report(items: list[dict[str, Any]], pictures: dict[str, bytes], card: dict[str, Any] | None) -> Report:
    result = {
        "kind": "diagnosis",
        "model": {"name": "m", "version": 3},
        "items": items,
        "artifacts": [{"name": name, "media_type": "image/png", "item": 0} for name in pictures],
        "warnings": [f"item 1: {EVIL}"],
        "provenance": {"device": "cpu", "libraries": {"torch": "2.13.0"}, "inputs": [EVIL]},
    }
    job = {"id": "0198-x", "labels": {EVIL: EVIL}, "created_at": "2026-01-01T00:00:00Z", "finished_at": None}
    return Report(job, result, pictures.__getitem__, card)


PICTURES = {"evidence-0.png": b"overlay", "image-0.png": b"windowed"}
FAILED = {"error": {"code": "input-contract", "title": "Outside", "detail": f"Modality {EVIL}"}}


def test_given_a_result_when_rendered_then_numbers_decision_doubt_and_disclaimer_stand_in_it() -> None:
    page = render(report([item(), FAILED], PICTURES, manifest()))

    assert "87.3%" in page
    assert 'class="tag positive"' in page
    assert "left: 62.0%" in page  # the threshold's mark on the bar
    assert "model abstains" in page
    assert "1.70 of the distance allowed: outside" in page
    assert page.count(DISCLAIMER) == 2
    assert "input-contract" in page
    assert "libraries.torch" in page
    assert "0.971 (0.950 to 0.990)" in page
    assert "0.951" in page  # the baseline beside it


def test_given_hostile_text_everywhere_when_rendered_then_it_is_text_and_never_markup() -> None:
    page = render(report([item(), FAILED], PICTURES, manifest()))

    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 8


def test_given_pictures_when_rendered_then_they_are_inlined_with_the_image_before_the_overlay() -> None:
    page = render(report([item()], PICTURES, manifest()))

    sources = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert [base64.b64decode(source) for source in sources] == [b"windowed", b"overlay"]


def test_given_any_report_when_rendered_then_it_refers_to_nothing_outside_itself() -> None:
    page = render(report([item()], PICTURES, manifest()))

    assert not re.search(r"https?://|//[a-z]|@import|url\(|<link|<iframe|<object", page)
    assert "default-src 'none'" in html.unescape(page)


def test_given_more_pictures_than_a_page_can_hold_when_rendered_then_the_rest_is_named() -> None:
    page = render(report([item()], {"image-0.png": b"x" * (MOST_PICTURE_BYTES + 1)}, None))

    assert "image-0.png, not shown here" in page
    assert len(page) < 100_000


@pytest.mark.parametrize("card", [None, manifest(metrics={"test": None, "seeds": [], "mean": {}})])
def test_given_no_test_figures_when_rendered_then_the_page_leaves_them_out(card: dict[str, Any] | None) -> None:
    page = render(report([item()], {}, card))

    assert "How good the model is" not in page
    assert "<svg" not in page


def test_given_nested_values_when_flattened_then_names_are_dotted_and_values_are_words() -> None:
    value = {"a": {"b": 0.5, "c": [1, 2]}, "d": None, "e": [{"f": True}]}

    assert flat(value) == [("a.b", "0.5"), ("a.c", "1, 2"), ("d", "none"), ("e.1.f", "yes")]


def test_given_one_bin_when_drawn_then_its_dot_stands_where_predicted_meets_observed() -> None:
    drawn = reliability([{"predicted": 0.25, "observed": 0.5, "count": 4}])

    assert 'cx="101.0" cy="136.0"' in drawn  # 46 + 220 / 4 from the left, 26 + 220 / 2 from the top


def test_given_roc_points_when_drawn_then_the_line_passes_through_them() -> None:
    drawn = roc([[0, 0], [0.5, 1], [1, 1]], FIGURE)

    assert 'points="46.0,246.0 156.0,26.0 266.0,26.0"' in drawn
    assert "AUC 0.971 (0.950 to 0.990)" in drawn


def test_given_a_fresh_interpreter_when_the_report_is_imported_then_torch_is_not() -> None:
    code = "import sys, models.diagnosis.report; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_given_an_overlay_with_a_caption_below_when_inlined_then_it_is_cut_to_the_image() -> None:
    image, drawn = np.zeros((20, 30), np.uint8), np.full((70, 200, 3), 9, np.uint8)

    cut = like(png(drawn), png(image))

    assert pixels(cut).shape == (1, 20, 30, 3)
    assert (pixels(cut) == 9).all()
