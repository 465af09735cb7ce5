"""The report of a kind without one of its own."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from typing import Any

import pytest

from jobs.results import DISCLAIMER, Report
from models.plain_report import MOST_PICTURE_BYTES, render

EVIL = "<script>alert('x')</script>\"'&"


def report(**change: Any) -> Report:
    result = {
        "kind": "toy",
        "items": [
            {"score": 0.123456, "found": True, "none": None, "tags": ["a", EVIL], "parts": [{"x": 1}, {"x": 2}]},
            {"error": {"code": "bad-input", "title": "Bad input", "detail": f"The tag {EVIL} is wrong."}},
        ],
        "artifacts": [
            {"name": "a.png", "media_type": "image/png", "item": 0},
            {"name": "all.png", "media_type": "image/png", "item": None},
            {"name": "t.csv", "media_type": "text/csv", "item": 1},
        ],
        "warnings": [f"item 1: {EVIL}"],
        "provenance": {"device": "cpu", "libraries": {"torch": "2.13.0"}},
        "model": {"name": "m", "version": 3},
        **change,
    }
    job = {"id": "0198-x", "kind": "toy", "labels": {EVIL: EVIL}, "created_at": "2026-01-01T00:00:00Z"}
    return Report(job, result, {"a.png": b"pixels-a", "all.png": b"pixels-all"}.__getitem__, None)


class Tags(HTMLParser):
    """Every tag and attribute of a page, and whether the tags close as they open."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    return tags


def test_given_a_result_then_the_page_shows_items_errors_pictures_and_provenance() -> None:
    page = render(report())
    for text in ("0.1235", "m version 3", "bad-input", "2.13.0", "t.csv", DISCLAIMER, "Item 0", "Item 1", "item 1:"):
        assert text in page
    sources = [attrs["src"] for tag, attrs in parsed(page).seen if tag == "img"]
    assert sources == [f"data:image/png;base64,{base64.b64encode(x).decode()}" for x in (b"pixels-a", b"pixels-all")]


def test_given_markup_in_every_text_then_it_is_shown_and_not_run() -> None:
    page = render(report())
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    for tag, attrs in parsed(page).seen:
        assert tag in {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "ul", "li", "section",
                       "table", "tr", "th", "td", "figure", "img", "figcaption", "b"}  # fmt: skip
        assert not [name for name in attrs if name.startswith("on")]


def test_given_nothing_then_the_page_still_stands() -> None:
    page = render(report(items=[], artifacts=[], warnings=[], provenance={}, model=None))
    assert DISCLAIMER in page
    parsed(page)


def test_given_huge_pictures_then_they_are_named_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_PICTURE_BYTES > 1 << 20
    monkeypatch.setattr("models.plain_report.MOST_PICTURE_BYTES", 10)
    page = render(report())
    assert page.count("<img") == 1
    assert "all.png: not shown here" in page
