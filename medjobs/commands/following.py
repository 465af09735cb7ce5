"""What one does with a job that is there: `watch`, `open`, `cancel`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from medjobs.client import Event


@click.command()
@click.argument("job")
@click.option("--json", "raw", is_flag=True, help="Print one JSON object per event.")
def watch(job: str, raw: bool) -> int:
    """Follow a JOB's events until it ends; the exit code is 0 where it succeeded.

    A training is drawn with its curves where there is a terminal.
    """
    from medjobs import reference
    from medjobs.client import Client

    with Client() as client:
        found = reference.find(client, job)
        if found.kind == "training" and not raw and sys.stdout.isatty():
            from medjobs import curves
            from medjobs.commands.train import outcome

            return outcome(client, curves.watch(found))
        for event in found.events():
            click.echo(_line(event, raw))
            sys.stdout.flush()
        return 0 if found.refresh().state == "succeeded" else 1


def _line(event: Event, raw: bool) -> str:
    import json

    from medjobs.screen import clock, printable

    if raw:
        return json.dumps({"id": event.id, "type": event.type, **event.data}, ensure_ascii=False)
    data = dict(event.data)
    at = data.pop("at", None)
    if event.type == "state":
        said = " ".join(str(part) for part in (data.pop("state", ""), data.pop("worker", "") or "") if part)
    elif event.type == "progress":
        percent = 100 * float(data.pop("fraction", 0) or 0)
        said = f"{percent:3.0f} %  {data.pop('stage', '') or ''}  {data.pop('message', '') or ''}"
    else:
        said = ""
    rest = "  ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in data.items() if value)
    when = clock(at) if isinstance(at, str) else ""
    return printable("  ".join(part for part in (when, f"{event.type:<8}", said.strip(), rest) if part))


@click.command()
@click.argument("job")
@click.option(
    "--save", type=click.Path(dir_okay=False, path_type=Path), help="File to write.  [default: in MEDJOBS_HOME]"
)
def open_report(job: str, save: Path | None) -> None:
    """Download a JOB's report, print where it lies, and open it where there is a screen."""
    import os
    import webbrowser

    from medjobs import reference
    from medjobs.client import Client, home

    with Client() as client:
        found = reference.find(client, job)
        path = save or home() / "reports" / f"{found.id}.html"
        # Reports hold pictures of patients: the folder is its owner's alone.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(found.artifact("report.html"))
    click.echo(str(path))
    has_screen = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if has_screen and sys.stdout.isatty():
        webbrowser.open(path.absolute().as_uri())


@click.command()
@click.argument("jobs", nargs=-1, required=True)
def cancel(jobs: Sequence[str]) -> int:
    """Cancel JOBS: a queued one at once, a running one at its next step. What ended already stays as it is."""
    from medjobs import reference
    from medjobs.client import Client, MedjobsError

    refused = 0
    with Client() as client:
        for typed in jobs:
            found = reference.find(client, typed)
            try:
                found.cancel()
            except MedjobsError as error:
                if error.status != 409:
                    raise
                refused += 1
                click.echo(f"{found.id}  has already {found.refresh().state}", err=True)
                continue
            said = "cancelled" if found.state == "cancelled" else f"{found.state}, will be cancelled at its next step"
            click.echo(f"{found.id}  {said}")
    return 1 if refused else 0
