"""What may stand in `MEDJOBS_STORAGE_URL=s3://bucket/prefix?option=value`, and what of it may be shown."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from jobs.errors import StorageUnavailable

ENCRYPTIONS = ("AES256", "aws:kms", "aws:kms:dsse")
STYLES = ("auto", "path", "virtual")

CONNECT_S = 5.0
"""Longest wait for a connection to S3."""

READ_S = 20.0
"""Longest silence of S3 within an answer or an upload."""

REQUEST_S = 120.0
"""One request of at most 16 MiB with its tries: a line of 1 Mbit/s suffices."""

TRIES = 2
"""Tries of one request, by botocore; s3fs makes as many rounds of them, so that it is given up after four."""

CONNECTIONS = 32
"""To one S3 by one process; further requests wait for one of them."""


class Bucket(NamedTuple):
    """Where things lie, and the arguments of `s3fs.S3FileSystem`."""

    name: str
    prefix: str
    options: dict[str, Any]


def shown(url: str) -> str:
    """The URL without what could be a secret: neither user and password nor options."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def bucket(url: str) -> Bucket:
    """Read the URL. Raises `StorageUnavailable` for what is not known, or has no place in a URL.

    Keys come from where every AWS tool has them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a file that
    AWS_SHARED_CREDENTIALS_FILE names, or the role of the machine; never from the URL, which ends up in logs.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise StorageUnavailable(
            "MEDJOBS_STORAGE_URL holds a user or a password; give keys by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or by a file that AWS_SHARED_CREDENTIALS_FILE names."
        )
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = {"endpoint_url", "region", "addressing_style", "server_side_encryption", "sse_kms_key_id", "profile"}
    if unknown := sorted(set(given) - known):
        raise StorageUnavailable(
            f"MEDJOBS_STORAGE_URL has the option {unknown[0]!r}; known are {', '.join(sorted(known))}. Keys come by "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a file that AWS_SHARED_CREDENTIALS_FILE names."
        )
    _one_of(given, "addressing_style", STYLES)
    _one_of(given, "server_side_encryption", ENCRYPTIONS)
    if not parts.netloc:
        raise StorageUnavailable("MEDJOBS_STORAGE_URL names no bucket; it is s3://bucket/prefix.")
    return Bucket(parts.netloc, parts.path.strip("/"), _options(given))


def _options(given: dict[str, str]) -> dict[str, Any]:
    config: dict[str, Any] = {
        "connect_timeout": CONNECT_S,
        "read_timeout": READ_S,
        "retries": {"mode": "standard", "total_max_attempts": TRIES},
        "max_pool_connections": CONNECTIONS,
    }
    if style := given.get("addressing_style"):
        config["s3"] = {"addressing_style": style}
    encryption = {
        "ServerSideEncryption": given.get("server_side_encryption"),
        "SSEKMSKeyId": given.get("sse_kms_key_id"),
    }
    client = {"endpoint_url": given.get("endpoint_url"), "region_name": given.get("region")}
    return {
        "config_kwargs": config,
        "client_kwargs": {name: value for name, value in client.items() if value},
        "s3_additional_kwargs": {name: value for name, value in encryption.items() if value},
        **({"profile": given["profile"]} if given.get("profile") else {}),
    }


def _one_of(given: dict[str, str], name: str, allowed: tuple[str, ...]) -> None:
    if name in given and given[name] not in allowed:
        raise StorageUnavailable(f"{name} in MEDJOBS_STORAGE_URL is one of {', '.join(allowed)}.")
