"""`medjobs data`: the data sets that a training takes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medjobs.commands.fetching import fetch
from medjobs.commands.listing import as_json_option

if TYPE_CHECKING:
    from medjobs.datasets import DataSet

FORMATS = ("medmnist", "images", "sequences", "molecules", "physionet2012", "pbc2")
"""As docs/data-sets.md describes them. The server knows what it takes; these are here for `--help`."""

MOST_PROBLEMS = 20
"""Problems printed; the data set as JSON has them all."""


@click.group()
def data() -> None:
    """Add, list and remove data sets for training; fetch public ones."""


data.add_command(fetch)


@data.command()
@click.argument("name")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, readable=True, path_type=Path))
@click.option("--format", "form", required=True, metavar="FORMAT", help=f"One of {', '.join(FORMATS)}.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the format; repeatable.")
@as_json_option
def add(name: str, files: Sequence[Path], form: str, options: Sequence[str], raw: bool) -> int:
    """Upload FILES as the data set NAME and follow it until it is ready or rejected.

    The order of the files is that of the format (docs/data-sets.md). A folder is sent as a zip of what is in it. A
    value of --option is read as JSON where it is JSON. The exit code is 0 where the data set is ready.
    """
    from medjobs import reference, screen
    from medjobs.client import Client

    sizes = sum(path.stat().st_size for path in reference.files(files))
    with Client() as client:
        with screen.bar(f"Uploading {name}", sizes) as advance:
            chosen = reference.values(options, "--option")
            made = client.datasets.add(name, form, *files, options=chosen, progress=advance)
        _follow(made)
    if raw:
        screen.as_json(made.data)
    else:
        describe(made)
    return 0 if made.state == "ready" else 1


def _follow(made: DataSet) -> None:
    """Wait until it has been read; Ctrl-C leaves that going on and says so."""
    from medjobs.commands.submit import finish

    if made.state == "validating":
        finish(made.job, what=f"Reading {made.name}", again=f"medjobs data show {made.name}")
    made.wait()


@data.command("list")
@as_json_option
def listing(raw: bool) -> None:
    """List your data sets."""
    from medjobs import screen
    from medjobs.client import Client

    with Client() as client:
        found = [one.data for one in client.datasets]
    if raw:
        screen.as_json(found)
        return
    rows = [(one["name"], one["state"], one["format"], _counts(one), screen.when(one["created_at"])) for one in found]
    drawn = screen.table(("data set", "state", "format", "train / validation / test", "added"), rows)
    screen.console().print(
        drawn if rows else "No data sets. Add one with `medjobs data add NAME --format FORMAT FILE`."
    )


@data.command()
@click.argument("name")
@click.option("--card", is_flag=True, help="Print the data card (Markdown) alone.")
@as_json_option
def show(name: str, card: bool, raw: bool) -> None:
    """Show the data set NAME: its counts, classes, warnings, problems."""
    from medjobs import screen
    from medjobs.client import Client

    with Client() as client:
        found = client.datasets.get(name)
    if raw:
        screen.as_json(found.data)
    elif card:
        click.echo("".join(c if c.isprintable() or c == "\n" else "?" for c in found.data.get("card") or ""))
    else:
        describe(found)


@data.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove the data set NAME. Refused while a training that waits or runs has it pinned."""
    from medjobs.client import Client

    with Client() as client:
        client.datasets.get(name).remove()
    click.echo(f"{name}  removed; versions that were trained on it stay.")


def describe(found: DataSet) -> None:
    """Print state, counts, classes, what the guards warn of, and every problem with file, row and column."""
    from medjobs import screen

    given = found.data
    pairs = {
        "Data set": f"{found.name}  ({given['format']})",
        "State": found.state,
        "Cases": _counts(given),
        "Fingerprint": (given.get("fingerprint") or "")[:16],
        "Job": given.get("job"),
    }
    screen.lines((name, value) for name, value in pairs.items() if value)
    if classes := given.get("classes"):
        screen.console().print(_classes(classes))
    for warning in given.get("warnings") or ():
        screen.entry(f"warning [{warning['guard']}, {warning['count']}]: ", str(warning["detail"]))
    problems = found.problems
    for problem in problems[:MOST_PROBLEMS]:
        screen.entry(f"problem {_where(problem)}: ", str(problem.get("detail", "")))
    if len(problems) > MOST_PROBLEMS:
        click.echo(f"... and {len(problems) - MOST_PROBLEMS} more: medjobs data show {found.name} --json")
    if found.state == "rejected":
        click.echo("Correct the files and add them again under the same name.")
    sys.stdout.flush()


def _counts(given: Mapping[str, Any]) -> str:
    counts = given.get("counts") or {}
    return " / ".join(str(counts.get(part, 0)) for part in ("train", "validation", "test")) if counts else ""


def _classes(classes: Mapping[str, Mapping[str, int]]) -> Any:
    """Class balance: a row per class, with its cases in each part."""
    from medjobs import screen

    parts = list(classes)
    names = dict.fromkeys(name for counts in classes.values() for name in counts)
    rows = [(name, *(classes[part].get(name, 0) for part in parts)) for name in names]
    return screen.table(("class", *parts), rows, right=parts)


def _where(problem: Mapping[str, Any]) -> str:
    """`file 1 row 7 column label`, of what is known."""
    named = {"file": problem.get("file"), "row": problem.get("row"), "column": problem.get("column")}
    known = {name: value + 1 if name == "file" else value for name, value in named.items() if value is not None}
    return " ".join(f"{name} {value}" for name, value in known.items()) or "in the whole"
