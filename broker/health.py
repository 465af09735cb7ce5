"""Looks at the broker without changing it."""

from __future__ import annotations

from dataclasses import dataclass

from broker.connection import connect
from broker.queues import redis_lists
from broker.wire import job_id, sent_at
from jobs.needs import ANY
from jobs.settings import Settings


@dataclass(frozen=True)
class Head:
    """One priority list: how many messages wait in it, and when the one to be served next was sent."""

    waiting: int
    sent_at: float | None = None
    """Epoch seconds by the sender's clock; None where the list is empty, or the message is not ours."""

    job_id: str | None = None


def ping(settings: Settings) -> str:
    """The Redis version; raises `redis.RedisError` or `OSError` when it does not answer."""
    client = connect(settings.redis, settings.publish_timeout_s)
    try:
        return str(client.info("server")["redis_version"])
    finally:
        client.close()


def heads(settings: Settings, pool: str, need: str = ANY) -> list[Head]:
    """The head of each priority list of a queue, the most urgent first; index i is our priority 9 - i.

    Raises `redis.RedisError` or `OSError` when Redis does not answer.
    """
    client = connect(settings.redis, settings.publish_timeout_s)
    try:
        with client.pipeline(transaction=False) as pipe:
            for key in redis_lists(pool, need):
                pipe.llen(key)
                pipe.lindex(key, -1)
            answers = pipe.execute()
    finally:
        client.close()
    pairs = zip(answers[::2], answers[1::2], strict=True)
    return [
        Head(int(waiting)) if raw is None else Head(int(waiting), sent_at(raw), job_id(raw)) for waiting, raw in pairs
    ]
