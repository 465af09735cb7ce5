"""Priorities and names, in one tested place."""

from __future__ import annotations

import pytest

from broker import queues, wire
from broker.connection import client_url, database
from jobs.messages import Message


def test_our_nine_is_served_first() -> None:
    assert [queues.wire_priority(priority) for priority in range(10)] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert queues.wire_priority(12) == 0
    assert queues.wire_priority(-3) == 9


def test_an_unknown_pool_is_named() -> None:
    with pytest.raises(ValueError, match="inference, long"):
        queues.queue("gpu")


def test_the_queue_of_what_runs_anywhere_keeps_its_name() -> None:
    """Workers of the release before consume `medjobs.inference` alone."""
    assert queues.queue("inference") == queues.queue("inference", "any") == "medjobs.inference"
    assert queues.queue("long", "gpu-16") == "medjobs.long.gpu-16"
    assert queues.redis_list("inference", 3, "gpu") == "medjobs.inference.gpu\x06\x163"
    assert queues.queue("inference", "gpu-640") == "medjobs.inference.gpu-640"  # of a later release
    with pytest.raises(ValueError, match="any, cpu, gpu, gpu-8"):
        queues.queue("inference", "GPU 16")


def test_a_message_carries_the_id_and_nothing_else_of_the_job() -> None:
    message = Message("0198", "diagnosis", "inference", 5)
    raw = wire.task_message(message, 12.5)
    assert wire.sent_at(raw) == 12.5
    assert wire.job_id(raw) == "0198"
    assert wire.sent_at(b"not ours") is None
    assert wire.sent_at(b'{"headers": {"sent_at": "soon"}}') is None


@pytest.mark.parametrize(
    ("url", "redis_url", "number"),
    [
        ("redis+socket:///run/r.sock", "unix:///run/r.sock?db=0", 0),
        ("redis+socket:///run/r.sock?virtual_host=3", "unix:///run/r.sock?db=3", 3),
        ("rediss://u:p@host:1/7", "rediss://u:p@host:1/7", 7),
        ("redis://host", "redis://host", 0),
    ],
)
def test_kombus_urls_are_understood(url: str, redis_url: str, number: int) -> None:
    assert client_url(url) == redis_url
    assert database(url) == number
