"""`medjobs doctor`: each part of this installation looked at, and what to do about what is wrong."""

from __future__ import annotations

import ctypes
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

if TYPE_CHECKING:
    from jobs.settings import Settings

LEAST_FREE = 2_000_000_000
"""Bytes below which the disk of the home is called nearly full."""

PACKAGES = ("torch", "celery", "kombu", "redis", "flower", "sqlalchemy", "flask", "pydantic", "pydicom")


class Check(NamedTuple):
    """One line of the doctor: `state` is ok, warn (works, but) or fail; `do` is the remedy, empty where ok."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    do: str = ""


@click.command()
@click.option("--json", "raw", is_flag=True, help="Print JSON.")
def doctor(raw: bool) -> int:
    """Check Redis, database, storage, devices, server, versions and disk, and say what to do.

    The exit code is 1 where anything failed.
    """
    from medjobs.environment import read_settings
    from medjobs.screen import as_json, entry

    settings = read_settings()
    found = list(checks(settings))
    if raw:
        as_json([check._asdict() for check in found])
    else:
        for check in found:
            entry(f"{check.state:<5} {check.name:<9} ", check.found)
            if check.do:
                entry(f"{'':<16}do:  ", check.do)
    return 1 if any(check.state == "fail" for check in found) else 0


def checks(settings: Settings) -> Iterator[Check]:
    """Every check in order. None of them changes anything but a probe file in the storage, which it removes."""
    for name, look in LOOKS.items():
        try:
            yield look(settings)
        except Exception as error:  # One broken part must not hide the state of the others.
            detail = getattr(error, "detail", None) or f"{type(error).__name__}: {error}".splitlines()[0]
            yield Check(name, "fail", str(detail), "Not expected: report it with the output of `medjobs doctor`.")


def _versions(_: Settings) -> Check:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            return Check("versions", "fail", f"{package} is not installed", "Install again: `pip install medjobs`.")
    return Check("versions", "ok", ", ".join(found))


def _home(settings: Settings) -> Check:
    place = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    said = f"{settings.home}, {free / 1e9:.1f} GB free"
    if free < LEAST_FREE:
        return Check("disk", "warn", said, "Free some space, or move MEDJOBS_HOME; uploads are refused on a full disk.")
    return Check("disk", "ok", said)


def _database(settings: Settings) -> Check:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    from db import schema
    from db.engine import Database

    name = make_url(settings.database).render_as_string(hide_password=True)
    remedy = "`medjobs up` makes it, or `medjobs db upgrade`."
    if not settings.database_url and not (settings.home / "medjobs.db").exists():
        return Check("database", "warn", f"{name} does not exist yet", remedy)
    database = Database(settings.database, wait_s=settings.database_wait_s)
    try:
        database.check()
        at, newest = schema.current(settings.database), schema.newest()
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        return Check("database", "fail", f"{name}: {reason}", "Start it, or correct MEDJOBS_DATABASE_URL.")
    finally:
        database.close()
    if at != newest:
        return Check("database", "fail", f"{name} is at {at or 'nothing'}, not {newest}", "Run `medjobs db upgrade`.")
    return Check("database", "ok", f"{name} at {at}")


def _redis(settings: Settings) -> Check:
    import redis as library

    from broker.health import ping
    from medjobs.environment import redis_url
    from medjobs.stack import redis

    try:
        found = ping(settings.model_copy(update={"redis_url": redis_url(settings)}))
    except (library.RedisError, OSError) as error:
        if settings.redis_url:
            remedy = "Start it, or correct MEDJOBS_REDIS_URL; jobs wait in the database meanwhile."
            return Check("Redis", "fail", f"MEDJOBS_REDIS_URL does not answer ({type(error).__name__})", remedy)
        return Check("Redis", "warn", f"not running; `medjobs up` will start {redis.executable()}", "Run `medjobs up`.")
    return Check("Redis", "ok", f"answers, version {found}")


def _storage(settings: Settings) -> Check:
    from jobs.errors import StorageUnavailable
    from storage.files import Storage

    try:
        said = Storage(settings.storage).check(thorough=True)
    except StorageUnavailable as error:
        return Check("storage", "fail", error.detail, "Correct MEDJOBS_STORAGE_URL, its rights or its space.")
    if " http://" in said and "127.0.0.1" not in said and "localhost" not in said:
        return Check("storage", "warn", said, "Patient data goes there unencrypted: give an endpoint of https.")
    return Check("storage", "ok", said)


def _devices(_: Settings) -> Check:
    from workers.devices import expand

    found = list(expand("auto"))
    if found != ["cpu"]:
        return Check("devices", "ok", ", ".join(found))
    if shutil.which("nvidia-smi"):
        remedy = "The driver is there, but this torch sees no GPU: install the CUDA build of torch 2.13.0."
        return Check("devices", "warn", "cpu alone", remedy)
    return Check("devices", "ok", "cpu (no NVIDIA driver)")


def _server(_: Settings) -> Check:
    from medjobs.client import Client, MedjobsError

    try:
        with Client(timeout=5, retries=0) as client:
            live = client.get("/v1/workers")["workers"]
            url = client.url
    except MedjobsError as error:
        return Check("server", "warn", error.title, error.detail)
    if not live:
        return Check("server", "fail", f"{url} answers, but no worker is live", "Start one: `medjobs worker`.")
    return Check("server", "ok", f"{url} with {len(live)} live workers")


def _python(_: Settings) -> Check:
    return Check("Python", "ok", f"{platform.python_version()} at {sys.executable}")


def _openmp(_: Settings) -> Check:
    """LightGBM, which boosting needs, links against the system's OpenMP runtime and does not bring it along."""
    if platform.system() != "Linux":
        return Check("OpenMP", "ok", "not looked for on this system")
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        return Check(
            "OpenMP", "warn", "no libgomp.so.1: icu-mortality and boosting fail", "Run `apt install libgomp1`."
        )
    return Check("OpenMP", "ok", "libgomp.so.1")


LOOKS: dict[str, Callable[[Any], Check]] = {
    "Python": _python,
    "versions": _versions,
    "disk": _home,
    "database": _database,
    "Redis": _redis,
    "storage": _storage,
    "devices": _devices,
    "server": _server,
    "OpenMP": _openmp,
}
"""What is looked at, in the order of what depends on what."""
