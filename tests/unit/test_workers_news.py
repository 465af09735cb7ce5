"""What a runner says is kept until the database has it, in order."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from jobs.errors import DatabaseUnavailable
from workers import news
from workers.news import Event, News, Progress


class Heard:
    """A database that is away for the first `away` calls."""

    def __init__(self, away: int = 0) -> None:
        self.away = away
        self.calls: list[list[Event]] = []
        self.progress: list[Progress] = []

    def __call__(self, events: list[Event], progress: Progress | None) -> None:
        if self.away:
            self.away -= 1
            raise DatabaseUnavailable
        self.calls.append(events)
        self.progress += [progress] if progress else []

    @property
    def steps(self) -> list[Any]:
        return [data["step"] for call in self.calls for _, data in call]


def test_all_that_was_said_arrives_in_order_and_in_portions() -> None:
    told, heard = News(), Heard()
    for step in range(news.PORTION * 2 + 1):
        told.metric("loss", 0.5, step)
    told.progress(0.5, "train", "half")
    told.deliver(heard)
    assert heard.steps == list(range(news.PORTION * 2 + 1))
    assert [len(call) for call in heard.calls] == [news.PORTION, news.PORTION, 1]
    assert heard.progress == [(0.5, "train", "half")]


def test_what_the_database_could_not_take_waits_for_it() -> None:
    told, heard = News(), Heard(away=2)
    told.metric("loss", 0.5, 0)
    told.progress(0.1, "train", "")
    for step in (1, 2):
        with pytest.raises(DatabaseUnavailable):
            told.deliver(heard)
        told.metric("loss", 0.5, step)
    told.deliver(heard)
    assert heard.steps == [0, 1, 2]
    assert heard.progress == [(0.1, "train", "")]


def test_newer_progress_is_not_replaced_by_older() -> None:
    told, heard = News(), Heard()
    told.progress(0.1, "train", "")

    def away_while_more_is_said(events: list[Event], progress: Progress | None) -> None:
        told.progress(0.2, "train", "")
        raise DatabaseUnavailable

    with pytest.raises(DatabaseUnavailable):
        told.deliver(away_while_more_is_said)
    told.deliver(heard)
    assert heard.progress == [(0.2, "train", "")]


def test_beyond_the_bound_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "MOST_EVENTS", 5)
    told, heard = News(), Heard(away=1)
    for step in range(7):
        told.metric("loss", 0.5, step)
    with pytest.raises(DatabaseUnavailable):
        told.deliver(heard)
    told.metric("loss", 0.5, 7)
    told.deliver(heard)
    assert heard.steps == [3, 4, 5, 6, 7]


def test_a_loss_that_diverged_can_be_written() -> None:
    told, heard = News(), Heard()
    told.metric("loss", float("nan"), 0)
    told.metric("loss", float("inf"), 1)
    told.deliver(heard)
    assert json.dumps([data["value"] for _, data in heard.calls[0]], allow_nan=False) == "[null, null]"


def test_who_delivers_last_returns_when_all_is_sent_also_what_another_thread_was_sending() -> None:
    # Given a portion that another thread is sending
    told, begun, may_end, sent = News(), threading.Event(), threading.Event(), list[int]()

    def slow(events: list[Event], progress: Progress | None) -> None:
        begun.set()
        assert may_end.wait(10)
        sent.extend(data["step"] for _, data in events)

    told.metric("loss", 0.5, 1)
    other = threading.Thread(target=told.deliver, args=(slow,))
    other.start()
    assert begun.wait(10)
    # When this one delivers, with nothing left to take
    threading.Timer(0.1, may_end.set).start()
    told.deliver(Heard())
    # Then that portion is sent
    assert sent == [1]
    other.join()
