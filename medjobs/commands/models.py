"""`medjobs models`: what there is, how two versions differ, and a version's files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from medjobs.commands.listing import as_json_option
from medjobs.commands.own_models import add
from medjobs.commands.promoting import gate, history, promote, rollback


@click.group(invoke_without_command=True)
@as_json_option
@click.pass_context
def models(ctx: click.Context, raw: bool) -> None:
    """List, show, compare, promote, add and export models. Without a subcommand: list them.

    A version is named NAME@3 or NAME@ALIAS; a NAME alone means its version in production.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(listing, raw=raw)


for command in (promote, rollback, history, gate, add):
    models.add_command(command)


@models.command("list")
@as_json_option
def listing(raw: bool) -> None:
    """List the models: their versions, kinds and aliases."""
    from medjobs import screen
    from medjobs.client import Client

    with Client() as client:
        found = list(client.models)
    if raw:
        screen.as_json({"models": found})
        return
    rows = [_row(model) for model in found]
    screen.console().print(screen.table(("model", "kind", "versions", "aliases", "summary"), rows))


def _row(model: Mapping[str, Any]) -> tuple[object, ...]:
    aliases = ", ".join(f"{name} = {number}" for name, number in model["aliases"].items())
    versions = ", ".join(str(version["version"]) for version in model["versions"])
    return model["name"], model["kind"], versions, aliases, model["versions"][0]["summary"]


@models.command()
@click.argument("model", metavar="NAME[@VERSION]")
@click.option("--card", is_flag=True, help="Print the version's model card (Markdown) alone.")
@as_json_option
def show(model: str, card: bool, raw: bool) -> None:
    """Show a model and its versions; with @VERSION, that version's figures, baseline, lineage and files."""
    from medjobs import screen
    from medjobs.client import Client

    with Client() as client:
        if "@" not in model and not card:
            found = client.models.get(model)
            screen.as_json(found) if raw else _print_model(found)
            return
        name, number = client.models.number(model)
        if card:
            text = client.models.file(name, number, "card.md").decode()
            click.echo("".join(char if char.isprintable() or char == "\n" else "?" for char in text))
            return
        version = client.models.version(name, number)
        screen.as_json(version) if raw else _print_version(version)


def _print_model(found: Mapping[str, Any]) -> None:
    from medjobs import screen
    from medjobs.commands.promoting import gate_text

    aliases = ", ".join(f"{name} = {number}" for name, number in found["aliases"].items())
    pairs = (
        ("Model", found["name"]),
        ("Kind", found["kind"]),
        ("Aliases", aliases),
        ("Gate", gate_text(found["gate"])),
    )
    screen.lines(pairs)
    rows = [
        (one["version"], ", ".join(one.get("aliases") or ()), _short(one), one.get("summary", ""))
        for one in found["versions"]
    ]
    drawn = screen.table(("version", "aliases", "first figure", "summary"), rows, right=("version",))
    screen.console().print(drawn)


def _short(version: Mapping[str, Any]) -> str:
    """`auc 0.985 (0.973 to 0.994)` of the figures that the list of versions holds."""
    from medjobs import figures

    return figures.headline(version)


def _print_version(found: Mapping[str, Any]) -> None:
    from medjobs import figures, screen

    manifest = found["manifest"]
    data = manifest.get("data") or {}
    # The first of the lineage is the version itself.
    lineage = " <- ".join(f"{one['name']}@{one['version']}" for one in found["lineage"][1:])
    pairs = {
        "Version": f"{found['name']}@{found['version']}",
        "Kind": found["kind"],
        "Aliases": ", ".join(found.get("aliases") or ()),
        "Summary": manifest.get("summary"),
        "Created": manifest.get("created_at"),
        "Data": f"{data.get('name', '')} {str(data.get('fingerprint', ''))[:16]}".strip(),
        "Recipe": _recipe(manifest.get("recipe")),
        "Seed": manifest.get("seed"),
        "Made by job": found.get("job"),
        "Comes from": lineage,
        "Files": ", ".join(_file_names(found)),
    }
    screen.lines((name, value) for name, value in pairs.items() if value not in (None, ""))
    contract = manifest.get("contract") or {}
    for what, unit in (("variables", f", time in {contract.get('unit')}"), ("statics", "")):
        if named := contract.get(what):
            screen.entry(f"Takes {what}{unit}: ", ", ".join(one["name"] for one in named))
    screen.console().print(figures.drawn(manifest))
    if said := figures.verdict(manifest):
        click.echo(said)


def _recipe(recipe: Any) -> str:
    if not isinstance(recipe, Mapping):
        return ""
    return str(recipe.get("name") or recipe.get("architecture") or "")


def _file_names(version: Mapping[str, Any]) -> list[str]:
    return [str(one["path"]) for one in version["files"]]


@models.command()
@click.argument("first", metavar="NAME@A")
@click.argument("second", metavar="NAME@B")
@as_json_option
def compare(first: str, second: str, raw: bool) -> None:
    """Compare two versions of a model on the same test cases: each difference is B - A, with its 95 % interval.

    Both answered the same cases, so the cases are drawn in pairs (bootstrap). Versions that were tested on other data
    are not compared.
    """
    from medjobs import figures, screen
    from medjobs.client import Client
    from medjobs.failing import USAGE, Trouble

    with Client() as client:
        (name, a), (other, b) = client.models.number(first), client.models.number(second)
        if name != other:
            raise Trouble(f"{name} and {other} are two models.", "Name two versions of one model.", USAGE)
        found = client.models.compare(name, a, b)
    if raw:
        screen.as_json(found)
        return
    click.echo(f"{name}@{b} against {name}@{a} on {found['n']} test cases")
    screen.console().print(figures.differences(found, f"@{a}", f"@{b}"))
    click.echo(
        "For brier, rmse and mae less is better. "
        "An interval that holds 0 says that chance alone could make the difference."
    )


@models.command()
@click.argument("version", metavar="NAME@VERSION")
@click.option("--to", "folder", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to fill.")
@click.option("--as", "number", type=click.IntRange(1), help="Number that it gets there.  [default: its own]")
def export(version: str, folder: Path, number: int | None) -> None:
    """Download a version with its manifest into FOLDER/NAME/NUMBER, and let `production` of that folder mean it.

    That is the form in which models are shipped with medjobs: `--to models/shipped`.
    """
    from medjobs.client import Client
    from models.training.export import export as write

    with Client() as client:
        name, found = client.models.number(version)
        shown = client.models.version(name, found)
        files = {path: client.models.file(name, found, path) for path in _file_names(shown)}
    click.echo(f"{write(folder, shown['manifest'], files, number or found)}/")
