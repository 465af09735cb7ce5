"""`medjobs storage copy`: all files of an installation into another storage."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from medjobs.failing import Trouble

if TYPE_CHECKING:
    from storage.copying import Copied

EVERY_S = 10.0
"""Pause between two lines that say how far a copy is."""


@click.group()
def storage() -> None:
    """Look after the files of an installation."""


@storage.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
def copy(source: str, target: str) -> None:
    """Copy every file of the storage FROM into the storage TO, such as file:///srv/files s3://bucket/prefix.

    Stop API, keepers and workers first, and point MEDJOBS_STORAGE_URL to the new one afterwards. What is there already
    is left alone, so a copy that was cut off is just typed again. FROM is only read. Keys and endpoint of S3 come from
    the usual AWS_... variables.
    """
    from jobs.errors import StorageUnavailable
    from medjobs.environment import read_settings
    from storage import copying
    from storage.disk import Disk
    from storage.files import place

    cache = read_settings().home / "cache"
    try:
        here = place(source, cache, make=False)
        if isinstance(here, Disk) and not here.root.is_dir():
            raise Trouble(f"There is no folder {here.root}.", "FROM is the MEDJOBS_STORAGE_URL of before.")
        there = place(target, cache)
        if there.place == here.place:
            raise Trouble("FROM and TO are the same storage.", "Name another one to copy to.")
        there.check()
        copied = copying.copy(here, there, _reporter())
    except StorageUnavailable as error:
        raise Trouble(f"The copy stopped: {error.detail}", "Type it again; it goes on where it stopped.") from None
    except FileNotFoundError as error:
        stop = "Stop API, keepers and workers, and type it again; it goes on where it stopped."
        raise Trouble(f"The copy stopped: a file was deleted meanwhile ({error}).", stop) from None
    except (ImportError, ValueError) as error:
        remedy = "Write file:///folder or s3://bucket/prefix, and AWS_ENDPOINT_URL_S3 as http://host:port."
        raise Trouble(f"A storage cannot be used: {str(error).rstrip('.')}.", remedy) from None
    click.echo(_said(copied, f" were copied from {here.place} to {there.place}"))
    if copied.damaged:
        for path in copied.damaged:
            click.echo(f"  {path}", err=True)
        happened = f"What is named above ({len(copied.damaged)}) is not what its name says, and was left out."
        raise Trouble(happened, "Take them from a backup, or upload them again; the rest is complete.")
    if not copied.files + copied.kept:
        raise Trouble(f"There is no file in {here.place}.", "Is FROM the MEDJOBS_STORAGE_URL of an installation?")


def _said(copied: Copied, what: str) -> str:
    from medjobs import screen

    there = f"; {copied.kept:,} were there already" if copied.kept else ""
    return f"{copied.files:,} files ({screen.size(copied.size)}){what}{there}."


def _reporter() -> Callable[[Copied], None]:
    """Says now and then how far a copy is."""
    due = time.monotonic() + EVERY_S

    def report(copied: Copied) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + EVERY_S
            click.echo(_said(copied, " so far"), err=True)

    return report
