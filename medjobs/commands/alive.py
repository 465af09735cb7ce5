"""`medjobs alive PART`: whether the part that runs on this very host or in this container does its work."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import click

from medjobs.failing import Trouble

if TYPE_CHECKING:
    from jobs.settings import Settings

LIMIT_S = 4.0
"""For one question over HTTP; healthchecks give the whole command ten seconds."""

KEEPER_S = 60.0
"""A keeper ends a turn each second; one that has ended none for so long waits for a database that hangs."""


@click.command()
@click.argument("part", type=click.Choice(["api", "worker", "keeper", "flower"]))
@click.option("--address", help="HOST:PORT of api or flower, where it is not the usual one.")
@click.option("--pool", type=click.Choice(["inference", "long"]), help="Of workers, only those of this pool.")
def alive(part: str, address: str | None, pool: str | None) -> None:
    """Exit with 0 where a part of this host does its work, else with 1: made for healthchecks.

    api: /readyz says yes. worker: one of this host's processes has a fresh heartbeat in the database. keeper: it has
    ended a turn within a minute. flower: it answers, and asks for its password.
    """
    from medjobs.environment import read_settings

    settings = read_settings()
    if part == "api":
        _answers(f"http://{address or '127.0.0.1:8000'}/readyz", 200)
    elif part == "flower":
        _answers(f"http://{address or '127.0.0.1:5555'}/", 401)
    elif part == "worker":
        _worker(settings, pool)
    else:
        _keeper(settings)
    click.echo(f"{part} is alive.")


def _answers(url: str, expected: int) -> None:
    import httpx

    try:
        status = httpx.get(url, timeout=LIMIT_S, trust_env=False).status_code
    except httpx.HTTPError as error:
        raise Trouble(f"{url} does not answer ({type(error).__name__}).", "Look at its log.") from None
    if status != expected:
        raise Trouble(f"{url} answers {status}, not {expected}.", "Look at its log.")


def _worker(settings: Settings, pool: str | None) -> None:
    from sqlalchemy.exc import SQLAlchemyError

    from db import workers
    from db.engine import Database
    from jobs.errors import JobError
    from workers.place import RESTARTING

    database = Database(settings.database, pool_size=1, wait_s=LIMIT_S)
    try:
        found = workers.live(database, settings.worker_dead_s)
    except (JobError, SQLAlchemyError) as error:
        raise Trouble(f"The database does not answer ({type(error).__name__}).", "Run `medjobs doctor`.") from None
    finally:
        database.close()
    here = [one for one in found if one.host == socket.gethostname() and one.state != RESTARTING]
    if not any(pool in (None, worker.pool) for worker in here):
        which = f"{pool} worker" if pool else "worker"
        raise Trouble(f"No {which} of {socket.gethostname()} has a fresh heartbeat.", "Look at its log.")


def _keeper(settings: Settings) -> None:
    from medjobs.stack.home import Home

    try:
        age = time.time() - Home(settings.home).keeper_turn.stat().st_mtime
    except FileNotFoundError:
        raise Trouble(f"No keeper has ended a turn on {settings.home}.", "Look at its log.") from None
    if age > KEEPER_S:
        raise Trouble(f"The keeper ended its last turn {age:.0f} s ago.", "Look at its log and at the database.")
