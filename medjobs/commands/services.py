"""The parts of a larger installation, one process each: `worker`, `keeper`, `flower`, and `db upgrade`."""

from __future__ import annotations

import os
import signal
import sys

import click

from medjobs.failing import USAGE, Trouble

_METRICS = click.option(
    "--metrics", default="", metavar="HOST:PORT", help="Serve Prometheus metrics there (or MEDJOBS_METRICS_BIND)."
)


@click.command()
@click.option("--pool", type=click.Choice(["inference", "long"]), default="inference", show_default=True, help="Sort.")
@click.option("--devices", default="auto", show_default=True, help="auto, cpu, cpu:N, or GPUs such as 0,1 or MIG-... .")
@click.option("--models", default="", metavar="NAME,...", help="Take jobs of these models and no others.")
@_METRICS
def worker(pool: str, devices: str, models: str, metrics: str) -> None:
    """Start an inference worker per device, or one long worker for all GPUs, in the foreground; SIGTERM drains them.

    MEDJOBS_DATABASE_URL, MEDJOBS_REDIS_URL and MEDJOBS_STORAGE_URL join this host to an installation. It says what is
    wrong with one of them, and waits for a service that does not answer yet. `medjobs workers` lists who has joined.

    While a worker with --models (or MEDJOBS_ONLY_MODELS) lives, new jobs of those models wait for it alone; 60 s after
    the last of them has gone, for all workers again.
    """
    if models:
        if pool == "long":
            raise Trouble("--models is for inference: a training holds its device alone.", "Leave it out.", USAGE)
        os.environ["MEDJOBS_ONLY_MODELS"] = models
    _join(pool, devices)
    _become("workers", "--pool", pool, "--devices", devices, *_metrics(metrics))


def _refuse_old_schema() -> None:
    """Raises `Trouble` where migrations are missing; a database that is away is the keeper's to wait for."""
    from db.engine import Database
    from medjobs import joining
    from medjobs.environment import read_settings
    from medjobs.stack.home import Home

    settings = read_settings()
    Home(settings.home).prepare()
    database = Database(settings.database, pool_size=1, wait_s=settings.database_wait_s)
    try:
        joining.check_database(database)
    except joining.Away as away:
        click.echo(f"medjobs: {away}; the keeper goes on trying.", err=True)
    finally:
        database.close()


def _join(pool: str, devices: str) -> None:
    """Look at database, Redis and storage in this process, which the worker's then replaces: it costs no memory."""
    import socket

    import medjobs
    from medjobs import joining
    from medjobs.environment import read_settings, redis_url
    from medjobs.stack.home import Home
    from workers.devices import expand

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # in a container we are process 1, which has no default
    try:
        found = expand(devices)
    except ValueError as error:
        raise Trouble(str(error), "Correct --devices.", USAGE) from None
    settings = read_settings()
    Home(settings.home).prepare()
    joined = joining.join(settings.model_copy(update={"redis_url": redis_url(settings)}))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    click.echo(joining.introduced(socket.gethostname(), pool, found, joined, medjobs.__version__, settings.set_apart))


@click.command()
@_METRICS
def keeper(metrics: str) -> None:
    """Start a keeper in the foreground. Any number may run; none of them leads."""
    _refuse_old_schema()
    _become("workers.keeper", *_metrics(metrics))


@click.command()
@click.option("--bind", default="127.0.0.1:5555", show_default=True, help="Address and port.")
def flower(bind: str) -> None:
    """Start Flower in the foreground. FLOWER_BASIC_AUTH=user:password (or FLOWER_BASIC_AUTH_FILE) must be set."""
    _become("medjobs.stack.flower", "--bind", bind)


@click.group()
def db() -> None:
    """Look after the database."""


@db.command()
def upgrade() -> None:
    """Bring the database's schema to this version; safe to repeat. Run it once per release, before the rest."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    from db import schema
    from jobs.errors import JobError
    from medjobs.environment import read_settings

    settings = read_settings()
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = make_url(settings.database).render_as_string(hide_password=True)
    try:
        before = schema.current(settings.database)
        schema.upgrade(settings.database)
    except (JobError, SQLAlchemyError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise Trouble(
            f"{name} cannot be upgraded: {reason}", "Check MEDJOBS_DATABASE_URL with `medjobs doctor`."
        ) from None
    after = schema.current(settings.database)
    click.echo(f"{name} is at {after}" + (" already." if before == after else f" (was {before or 'empty'})."))


def _metrics(bind: str) -> list[str]:
    return ["--metrics", bind] if bind else []


def _become(module: str, *arguments: str) -> None:
    """Replace this process by the service, so that signals and the exit code are its own.

    It runs in the home and without the working directory on its path: a user's own `models/` must not replace ours.
    """
    from medjobs.environment import for_service, read_settings
    from medjobs.stack.home import Home

    settings = read_settings()
    Home(settings.home).prepare()
    os.chdir(settings.home)
    sys.stdout.flush()
    command = [sys.executable, "-m", module, *arguments]
    os.execve(sys.executable, command, {**os.environ, **for_service(settings)})  # noqa: S606  our own module
