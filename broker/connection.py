"""Short-tempered Redis clients: no retry, no wait longer than the caller can bear."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

UNREACHABLE = (redis.RedisError, OSError)
"""What a dead, frozen, full or restarting Redis raises."""


def connect(url: str, timeout_s: float) -> redis.Redis:
    """A client of the broker at kombu's `url`; opens nothing yet. A command takes at most about `timeout_s`.

    redis-py retries three times with growing pauses unless told otherwise, which would hold a submit for seconds.
    """
    address = client_url(url)
    # redis-py's unix socket connections refuse the options of TCP.
    tcp = {} if address.startswith("unix:") else {"socket_connect_timeout": timeout_s / 2, "socket_keepalive": True}
    return redis.Redis.from_url(
        address,
        socket_timeout=timeout_s / 2,
        **tcp,
        retry=Retry(NoBackoff(), 0),
        retry_on_timeout=False,
    )


def client_url(url: str) -> str:
    """kombu writes a unix socket as `redis+socket:///path?virtual_host=0`, redis-py as `unix:///path?db=0`."""
    parts = urlsplit(url)
    if parts.scheme != "redis+socket":
        return url
    return f"unix://{parts.path}?db={database(url)}"


def database(url: str) -> int:
    """The number of the Redis database that a broker URL names, 0 by default; it is part of the event channel."""
    parts = urlsplit(url)
    asked = parse_qs(parts.query)
    text = asked.get("virtual_host", ["0"])[0] if parts.scheme == "redis+socket" else parts.path.strip("/")
    return int(text or 0)
