"""What the commands print: plain tables 100 columns wide that read the same on a terminal, in a pipe and in a log."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

WIDTH = 100
"""Columns of every screen that is not on a terminal, and at most on one."""

STYLES = {
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
    "running": "cyan",
    "positive": "bold",
    "synthetic": "magenta",
}
"""Words that carry a colour where the terminal has colours; the word itself always stands there too."""


def console(stderr: bool = False) -> Console:
    """A console of at most `WIDTH` columns, without automatic highlighting."""
    found = Console(stderr=stderr, highlight=False, soft_wrap=False)
    return Console(stderr=stderr, highlight=False, width=min(found.width, WIDTH) if found.is_terminal else WIDTH)


def styled(word: object) -> str:
    """The word as rich markup, coloured where `STYLES` says so; markup in the word itself is text."""
    text = escape(printable(str(word)))
    return f"[{STYLES[text]}]{text}[/]" if text in STYLES else text


def printable(text: str) -> str:
    """`text` without control characters: a file name or label must not drive the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> Table:
    """A table without vertical lines; the columns named in `right` hold numbers. Long cells fold, nothing is cut."""
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    for column in columns:
        whole = column == "id"  # to be copied in one piece
        drawn.add_column(column, justify="right" if column in right else "left", overflow="fold", no_wrap=whole)
    for row in rows:
        drawn.add_row(*(styled("" if cell is None else cell) for cell in row))
    return drawn


def lines(pairs: Iterable[tuple[str, object]]) -> None:
    """Print `name  value` lines, never wrapped, so that a path can be copied whole."""
    known = [(name, printable(str(value))) for name, value in pairs]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        click.echo(f"{name:<{width}}  {value}".rstrip())


def entry(name: str, text: str) -> None:
    """Print `text` after `name`, its further lines indented below its first; a word or path is never broken."""
    indent = " " * len(name)
    wrapper = textwrap.TextWrapper(WIDTH, indent, indent, break_long_words=False, break_on_hyphens=False)
    click.echo(name + wrapper.fill(printable(text)).removeprefix(indent))


def as_json(value: Any) -> None:
    """Print `value` as indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def when(text: str) -> str:
    """An RFC 3339 time in few columns: the local time of day where it is today, else the date."""
    at, now = datetime.fromisoformat(text).astimezone(), datetime.now().astimezone()
    return at.strftime("%H:%M:%S" if at.date() == now.date() else "%Y-%m-%d")


def clock(text: str | None) -> str:
    """An RFC 3339 time as local `2026-01-31 14:05:09`, empty where there is none."""
    if not text:
        return ""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def seconds_between(start: str | None, end: str | None) -> float | None:
    """Seconds from `start` to `end` (to now where there is no end); None where there is no start."""
    if not start:
        return None
    until = datetime.fromisoformat(end) if end else datetime.now(UTC)
    return (until - datetime.fromisoformat(start)).total_seconds()


def span(seconds: float | None) -> str:
    """A duration for people: `0.34 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60) if seconds >= 3600 else int(seconds // 60)
    return f"{minutes} min {seconds % 60:.0f} s" if seconds < 3600 else f"{minutes // 60} h {minutes % 60} min"


def size(count: float) -> str:
    """A number of bytes for people: `812 B`, `1.4 MB`, `2.0 GB` (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable: GB returns")


@contextmanager
def starting() -> Iterator[Callable[[str], None]]:
    """A spinner on stderr that says which part is being started."""
    with console(stderr=True).status("Starting ...") as status:
        yield lambda part: status.update(f"Starting: {part} ...")


@contextmanager
def bar(what: str, total: float) -> Iterator[Callable[[float], None]]:
    """A progress bar on stderr where that is a terminal, gone when done; elsewhere nothing is drawn."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield lambda _: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen, transient=True) as progress:
        task = progress.add_task(escape(what), total=total or 1.0)
        yield lambda amount: progress.advance(task, amount)


@contextmanager
def progress_line(what: str) -> Iterator[Callable[[str], None]]:
    """A line that is rewritten on a terminal while work goes on; a report that ends in a full stop stays.

    Elsewhere only the lines that stay are printed.
    """
    live = sys.stdout.isatty()

    def report(text: str) -> None:
        if text.endswith("."):
            click.echo(f"\r\x1b[K{text}" if live else text)
        elif live:
            click.echo(f"\r\x1b[K{what}: {text} ...", nl=False)

    yield report
