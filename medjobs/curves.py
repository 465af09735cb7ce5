"""A training as it runs: how far it is, its curves as lines of small blocks, and the pictures that it shows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import click
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from medjobs.client import Event, Job, MedjobsError, home
from medjobs.screen import console, printable, styled

BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH = 40
"""Columns of a curve."""

MOST_CURVES = 10
"""Curves drawn at once, the newest; all of them are in the job's report."""

KEPT = 4096
"""Points kept of a curve; beyond them every second is dropped."""

LINE_S = 5.0
"""Where there is no terminal: pause between two lines."""


class Training:
    """What the events of a training have said so far."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.state, self.fraction, self.said, self.last_log = "queued", 0.0, "", ""
        self.picture = ""
        """Where the newest picture of what it has learnt lies."""

        self.curves: dict[str, list[float]] = {}

    def feed(self, event: Event) -> None:
        """Take in one event."""
        data = event.data
        if event.type == "state":
            self.state = str(data.get("state"))
        elif event.type == "progress":
            self.fraction = float(data.get("fraction") or 0.0)
            self.said = ": ".join(str(part) for part in (data.get("stage"), data.get("message")) if part)
        elif event.type == "metric":
            points = self.curves.pop(str(data.get("name")), [])
            value = data.get("value")
            points.append(math.nan if value is None else float(value))
            # Put last again, so that the curves that move are those that are drawn.
            self.curves[str(data.get("name"))] = points if len(points) < KEPT else points[::2]
        elif event.type == "log":
            self.last_log = str(data.get("message", ""))

    def line(self) -> str:
        """How far it is, and what its worker says of that (epoch, step, loss, time left)."""
        percent = f"{100 * self.fraction:3.0f} %" if self.state == "running" else self.state
        return printable("  ".join(part for part in (percent, self.said) if part))

    def __rich__(self) -> Group:
        """The screen: a line, a bar, the curves."""
        bar = Table.grid()  # A bar alone ends without a line break.
        bar.add_row(ProgressBar(total=1.0, completed=self.fraction, width=60))
        drawn = Table.grid(padding=(0, 2))
        for name, values in list(self.curves.items())[-MOST_CURVES:]:
            drawn.add_row(styled(name), sparkline(values), f"{values[-1]:.4g}", f"{len(values)} points")
        return Group(
            f"Training {self.job_id}", styled(self.line()), bar, drawn, styled(self.last_log), styled(self.picture)
        )


def sparkline(values: Sequence[float], width: int = WIDTH) -> str:
    """The values as at most `width` blocks between their least and greatest; means where there are more values."""
    count = min(width, len(values))
    parts = [values[i * len(values) // count : (i + 1) * len(values) // count] for i in range(count)]
    means = [_mean(part) for part in parts]
    known = [mean for mean in means if not math.isnan(mean)]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    return "".join(_block(mean, low, high) for mean in means)


def _mean(part: Sequence[float]) -> float:
    known = [value for value in part if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def _block(mean: float, low: float, high: float) -> str:
    if math.isnan(mean):
        return "·"
    share = 0.5 if high == low else (mean - low) / (high - low)
    return BLOCKS[min(int(share * len(BLOCKS)), len(BLOCKS) - 1)]


def watch(job: Job) -> Job:
    """Draw the training until it has ended; Ctrl-C leaves it running and says how to return and how to end it."""
    told = Training(job.id)
    try:
        if console().is_terminal:
            _live(told, job.events(), partial(saved, job))
        else:
            _lines(told, job.events(), partial(saved, job))
    except KeyboardInterrupt:
        click.echo(
            f"\nThe training goes on. Return to it with `medjobs watch {job.id}`; `medjobs cancel {job.id}` ends it.",
            err=True,
        )
        raise
    return job.refresh()


def saved(job: Job, event: Event) -> str:
    """Save the picture that an `artifact` event names, beside the reports, and say where it lies.

    A training that failed or was cancelled gives none any more: then it is named alone.
    """
    name = Path(str(event.data.get("name"))).name
    path = home() / "reports" / job.id / name
    try:
        content = job.artifact(name)
    except MedjobsError:
        return name
    # Pictures are of patients, or learnt from theirs: the folder is its owner's alone.
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def _live(told: Training, events: Iterable[Event], save: Callable[[Event], str]) -> None:
    with Live(told, console=console(), refresh_per_second=4):
        for event in events:
            told.feed(event)
            if event.type == "artifact":
                told.picture = save(event)


def _lines(told: Training, events: Iterable[Event], save: Callable[[Event], str]) -> None:
    """A line whenever the state changes or there is a picture, and else every few seconds."""
    said_at = -math.inf
    for event in events:
        told.feed(event)
        due = event.type == "progress" and time.monotonic() - said_at >= LINE_S
        if due:
            said_at = time.monotonic()
        if due or event.type == "state":
            click.echo(told.line())
        if event.type == "artifact":
            click.echo(printable(f"step {event.data.get('step')}  {save(event)}"))
