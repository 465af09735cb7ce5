"""What a host needs before its workers start: a database with the right schema, Redis, and the common storage.

What is wrong for good (a password, a schema, another storage) ends the command with a line that says what to do. What
may pass (a service that does not answer yet) is waited for, as a restart by Docker or systemd would.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import click

from medjobs.failing import Trouble

if TYPE_CHECKING:
    from db.engine import Database
    from jobs.settings import Settings

T = TypeVar("T")

PAUSE_S = 2.0
"""Between two looks at a service that does not answer."""

SAID_AGAIN_S = 30.0

_REFUSED = re.compile("FATAL|password|certificate|unable to open")
_PASSING = re.compile("starting up|shutting down|recovery|too many|connection slots|terminating")
"""What PostgreSQL, libpq before it, or SQLite says that no waiting mends; and what passes though it is as fatal."""

LOOKED_AT = 3
"""Versions of models of which one file is looked for in the storage."""


class Away(Exception):
    """Not there now; the text says what and why."""


class Joined(NamedTuple):
    """What was found, in words."""

    database: str
    redis: str
    storage: str


def join(settings: Settings) -> Joined:
    """Look at everything, waiting for what is away; raises `Trouble` for what no waiting mends."""
    from db.engine import Database

    try:
        database = Database(settings.database, pool_size=1, wait_s=settings.database_wait_s)
    except Exception as error:
        raise Trouble(f"MEDJOBS_DATABASE_URL cannot be used: {_first_line(error)}", "Correct it.") from None
    try:
        schema = patiently(lambda: check_database(database))
        redis = patiently(lambda: check_redis(settings))
        storage = patiently(lambda: check_storage(settings, database))
        check_models(settings, database)
    finally:
        database.close()
    return Joined(schema, redis, storage)


def patiently(look: Callable[[], T]) -> T:
    """Look until it is there; say at first, and then every half minute, what is waited for."""
    said_at = -SAID_AGAIN_S
    while True:
        try:
            return look()
        except Away as away:
            if time.monotonic() - said_at >= SAID_AGAIN_S:
                said_at = time.monotonic()
                click.echo(f"medjobs: {away}; waiting for it.", err=True)
        time.sleep(PAUSE_S)


def check_database(database: Database) -> str:
    """The database answers and has a schema that this code can work with."""
    from db import revisions
    from jobs.errors import DatabaseUnavailable

    name = database.url.render_as_string(hide_password=True)
    try:
        found = revisions.standing(database)
    except DatabaseUnavailable as error:
        reason = str(error.facts.get("reason") or error.detail)
        if _REFUSED.search(reason) and not _PASSING.search(reason):
            raise Trouble(f"{name} refuses this host: {reason}.", "Correct MEDJOBS_DATABASE_URL.") from None
        raise Away(f"{name} (MEDJOBS_DATABASE_URL) does not answer: {reason}") from None
    if found.behind:
        raise Trouble(
            f"{name} has the schema {found.at or 'of no release'}, older than this code, which needs {found.newest}.",
            "Run `medjobs db upgrade` with this release, once; then start again.",
        )
    if found.ahead:
        click.echo(
            f"medjobs: {name} has the schema {found.at}, newer than this code ({found.newest}): right during an"
            " upgrade; bring this host to the new release soon.",
            err=True,
        )
    return f"{name} at schema {found.at}"


def check_redis(settings: Settings) -> str:
    """Redis answers and lets us in."""
    import redis

    from broker.connection import UNREACHABLE
    from broker.health import ping

    try:
        return f"Redis {ping(settings)}"
    except (redis.AuthenticationError, redis.ResponseError) as error:
        reason = f"Redis refuses this host: {_first_line(error)}."
        raise Trouble(reason, "Correct the password in MEDJOBS_REDIS_URL.") from None
    except UNREACHABLE as error:
        raise Away(f"Redis (MEDJOBS_REDIS_URL) does not answer: {_first_line(error)}") from None
    except ValueError as error:
        raise Trouble(f"MEDJOBS_REDIS_URL cannot be used: {_first_line(error)}.", "Correct it.") from None


def check_storage(settings: Settings, database: Database) -> str:
    """The storage can be written, and is the one that the installation's files are in."""
    from db import models
    from jobs.errors import StorageUnavailable
    from storage.files import Storage

    try:
        storage = Storage(settings.storage, settings.home / "cache")
        storage.check()
        files = [models.files(database, one.name, one.number)[:1] for one in models.versions(database)[:LOOKED_AT]]
        digests = [file.digest for some in files for file in some]
        there = not digests or any(storage.exists(digest) for digest in digests)
    except StorageUnavailable as error:
        raise Away(f"MEDJOBS_STORAGE_URL: {error.detail.rstrip('.')}") from None
    except (ImportError, ValueError) as error:
        raise Trouble(f"MEDJOBS_STORAGE_URL cannot be used: {_first_line(error)}.", "Correct it.") from None
    if not there:
        raise Trouble(
            f"{settings.storage} is not the storage of this installation: it lacks the files of its models.",
            "Mount the same folder as the API's host, or set MEDJOBS_STORAGE_URL to the same bucket. Files that"
            " are to move to a new storage are copied there first: `medjobs storage copy OLD NEW`.",
        )
    return settings.storage


def check_models(settings: Settings, database: Database) -> None:
    """Say which of the models that this worker is set apart for the installation does not have (yet)."""
    from db import models

    known = {model.name for model in models.models(database)}
    for name in settings.set_apart:
        if name not in known:
            click.echo(f"medjobs: there is no model {name} here yet; `medjobs models` lists those there are.", err=True)


def introduced(
    host: str, pool: str, devices: Iterable[str], joined: Joined, version: str, models: Sequence[str] = ()
) -> str:
    """A line that says who joins what."""
    jobs = f"{pool} jobs of {', '.join(models)} alone" if models and pool == "inference" else f"{pool} jobs"
    return (
        f"{host} joins with {', '.join(devices)} for {jobs}, medjobs {version};"
        f" {joined.database}, {joined.redis}, storage {joined.storage}"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
