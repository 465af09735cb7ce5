"""Names of the queues and of their priority lists in Redis, in one place because kombu spells them its own way."""

from __future__ import annotations

from typing import get_args

from jobs.kinds import Pool

PRIORITIES = range(10)
"""0 to 9, each with a Redis list of its own (kombu joins them to four by default)."""

POOLS: tuple[Pool, ...] = get_args(Pool)

_SEPARATOR = "\x06\x16"
"""kombu's `Channel.sep`: stands between a queue's name and its wire priority."""


def queue(pool: str) -> str:
    """The queue that a pool's workers consume."""
    if pool not in POOLS:
        raise ValueError(f"there is no pool {pool!r}; the pools are {', '.join(POOLS)}")
    return f"medjobs.{pool}"


def wire_priority(priority: int) -> int:
    """Ours rises (9 is the most urgent), kombu's Redis transport serves 0 first."""
    return 9 - min(max(priority, 0), 9)


def redis_list(pool: str, wire: int) -> str:
    """The Redis list of one wire priority; the message at its right end is served next."""
    return f"{queue(pool)}{_SEPARATOR}{wire}" if wire else queue(pool)


def redis_lists(pool: str) -> list[str]:
    """Every list of a pool, in the order in which they are served."""
    return [redis_list(pool, wire) for wire in PRIORITIES]


def task_name(kind: str) -> str:
    """The Celery task's name, which is what Flower shows."""
    return f"medjobs.{kind}"
