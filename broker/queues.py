"""Names of the queues and of their priority lists in Redis, in one place because kombu spells them its own way."""

from __future__ import annotations

import re
from typing import get_args

from jobs.kinds import Pool
from jobs.needs import ANY, all_queues

PRIORITIES = range(10)
"""0 to 9, each with a Redis list of its own (kombu joins them to four by default)."""

POOLS: tuple[Pool, ...] = get_args(Pool)

_NEED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_SEPARATOR = "\x06\x16"
"""kombu's `Channel.sep`: stands between a queue's name and its wire priority."""


def queue(pool: str, need: str = ANY) -> str:
    """The queue in which a pool's jobs of that need wait (jobs/needs.py)."""
    if pool not in POOLS:
        raise ValueError(f"there is no pool {pool!r}; the pools are {', '.join(POOLS)}")
    if not _NEED.fullmatch(need):  # one that this release does not know may be a later release's
        raise ValueError(f"{need!r} names no queue; the queues are {', '.join(all_queues())}")
    # `any` keeps the name that it had when it was the only one: workers of both releases serve it.
    return f"medjobs.{pool}" if need == ANY else f"medjobs.{pool}.{need}"


def wire_priority(priority: int) -> int:
    """Ours rises (9 is the most urgent), kombu's Redis transport serves 0 first."""
    return 9 - min(max(priority, 0), 9)


def redis_list(pool: str, wire: int, need: str = ANY) -> str:
    """The Redis list of one wire priority; the message at its right end is served next."""
    return f"{queue(pool, need)}{_SEPARATOR}{wire}" if wire else queue(pool, need)


def redis_lists(pool: str, need: str = ANY) -> list[str]:
    """Every list of a queue, in the order in which they are served."""
    return [redis_list(pool, wire, need) for wire in PRIORITIES]


def task_name(kind: str) -> str:
    """The Celery task's name, which is what Flower shows."""
    return f"medjobs.{kind}"
