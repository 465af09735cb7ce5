"""The data card and its pictures: well-formed, without markup of strangers, without ages above 90."""

from __future__ import annotations

import io
import xml.etree.ElementTree as Xml
from dataclasses import replace

import numpy as np
from PIL import Image as Pillow

from models.data import card, facts, plots
from tests.unit.test_data_guards import N, images, sequences

HOSTILE = '<script>alert("x")</script>|'


def test_names_from_a_strangers_table_cannot_leave_their_cell_or_become_markup() -> None:
    cases = replace(sequences(), variables=(HOSTILE, "Temp"), statics=(HOSTILE,))
    item = {
        "format": "sequences", "fingerprint": "0" * 64, "counts": cases.counts(), "classes": facts.balance(cases),
        "facts": facts.facts(cases), "warnings": [{"guard": "leak", "detail": HOSTILE, "count": 1}],
    }  # fmt: skip
    drawn = card.pictures(cases)
    text = card.card(item, sorted(drawn))
    assert "<script" not in text
    assert "\n- **leak** (1): &lt;script>" in text
    for content in drawn.values():
        assert b"<script" not in content
        Xml.fromstring(content)


def test_the_oldest_are_one_group() -> None:
    cases = sequences()
    ages = facts.ages(replace(cases, static=np.full((N, 1), 104, np.float32)))
    assert ages is not None
    assert ages.max() == 90


def test_a_variable_that_half_of_the_subjects_lack_is_told_so() -> None:
    cases = sequences()
    kept = (cases.variable == 0) | (cases.subject % 2 == 0)
    columns = {name: getattr(cases, name)[kept] for name in ("subject", "time", "variable", "value")}
    assert facts.never_observed(replace(cases, **columns)) == {"HR": 0.0, "Temp": 0.5}


def test_bars_are_as_long_as_their_counts() -> None:
    drawn = Xml.fromstring(plots.stacked("t", {"train": {"a": 30, "b": 10}, "test": {"a": 20}}))
    widths = {
        (bar.find("{*}title").text or ""): float(bar.get("width", "0"))  # type: ignore[union-attr]
        for bar in drawn.iter("{http://www.w3.org/2000/svg}rect")
        if bar.find("{*}title") is not None
    }
    assert widths["train, a: 30"] == 3 * widths["train, b: 10"] == 1.5 * widths["test, a: 20"]


def test_the_sheet_shows_training_images_of_each_class_too_small_to_read_words_in() -> None:
    cases = images(side=224)
    sheet = np.asarray(Pillow.open(io.BytesIO(card.pictures(cases)["samples.png"])))
    assert sheet.shape == (2 * 68 + 4, card.SHOWN * 68 + 4)
    first = sheet[4:68, 4:68]
    train = cases.part(0)
    whole = [np.asarray(Pillow.fromarray(cases.images[n]).resize((64, 64), Pillow.Resampling.BOX)) for n in train]
    match = [n for n, small in zip(train, whole, strict=True) if (small == first).all()]
    assert len(match) == 1
    assert cases.labels[match[0]] == 0
