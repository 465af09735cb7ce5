"""Which version is in production: `medjobs models promote`, `rollback`, `history`, `gate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from medjobs.commands.listing import as_json_option

METRICS = ("auc", "auprc", "accuracy", "brier", "min_se_pp", "c_index", "rmse", "mae", "r2", "spearman")

alias_option = click.option("--alias", default="production", show_default=True, help="Alias to move.")
reason_option = click.option("--reason", help="Why; kept in the history.")
force_option = click.option("--force", is_flag=True, help="Though the gate says no (admin; needs --reason).")


@click.command()
@click.argument("version", metavar="NAME@VERSION")
@alias_option
@reason_option
@force_option
def promote(version: str, alias: str, reason: str | None, force: bool) -> None:
    """Let an alias mean this version, for every job from now on. Jobs that were accepted keep theirs.

    Where the model has a gate (`medjobs models gate`), a version that does not pass it is refused with the figures.
    """
    from medjobs.client import Client
    from medjobs.failing import USAGE, Trouble

    if "@" not in version:
        raise Trouble("Which version?", f"Name it: {version}@3, or {version}@candidate.", USAGE)
    with Client() as client:
        name, number = client.models.number(version)
        _say_moved(name, alias, client.models.promote(name, number, alias=alias, reason=reason, force=force), number)


@click.command()
@click.argument("name")
@alias_option
@reason_option
@force_option
def rollback(name: str, alias: str, reason: str | None, force: bool) -> None:
    """Let an alias of the model NAME mean what it meant before; once more, what it meant before that.

    It never returns to a version that was rolled back: promote that one by its number.
    """
    from medjobs.client import Client

    with Client() as client:
        moved = client.models.rollback(name, alias=alias, reason=reason, force=force)
        _say_moved(name, alias, moved, client.models.get(name)["aliases"][alias])


def _say_moved(name: str, alias: str, moved: Mapping[str, Any], number: int) -> None:
    before = moved.get("before")
    was = "" if before in (None, number) else f" (was {name}@{before})"
    click.echo(f"{name}@{alias} is now {name}@{number}{was}.")


@click.command()
@click.argument("name")
@click.option("--alias", help="Only this alias.")
@as_json_option
def history(name: str, alias: str | None, raw: bool) -> None:
    """Every move of the aliases of the model NAME, newest first: from what to what, by whom and why."""
    from medjobs import screen
    from medjobs.client import Client

    with Client() as client:
        found = client.models.history(name, alias)
    if raw:
        screen.as_json(found)
        return
    rows = [
        (screen.clock(move["at"]), move["alias"], move["before"], move["after"], move.get("by"), _why(move))
        for move in found
    ]
    screen.console().print(screen.table(("at", "alias", "from", "to", "by", "why"), rows, right=("from", "to")))


def _why(move: Mapping[str, Any]) -> str:
    judged = move.get("gate") or {}
    verdict = "" if not judged else "gate passed" if judged.get("passed") else "GATE NOT PASSED, forced"
    return "; ".join(part for part in (move.get("reason"), verdict) if part)


@click.command()
@click.argument("name")
@click.option("--metric", type=click.Choice(METRICS), help="Figure that must not get worse.")
@click.option("--margin", type=click.FloatRange(0), default=0.0, show_default=True, help="What it may lose.")
@click.option("--subgroup-margin", type=click.FloatRange(0), help="What each subgroup of 30 cases or more may lose.")
@click.option("--none", "nothing", is_flag=True, help="Take the gate away.")
@as_json_option
def gate(name: str, metric: str | None, margin: float, subgroup_margin: float | None, nothing: bool, raw: bool) -> None:
    """Show or set what a version of the model NAME must pass before `production` moves to it.

    Passed where the lower end of the 95 % interval of the gain in --metric over the version in production is at least
    minus --margin.
    """
    from medjobs import screen
    from medjobs.client import Client
    from medjobs.failing import USAGE, Trouble

    if nothing and metric is not None:
        raise Trouble("--none and --metric exclude each other.", "Give one of them.", USAGE)
    with Client() as client:
        if nothing:
            client.models.set_gate(name, None)
        elif metric is not None:
            rule: dict[str, Any] = {"metric": metric, "margin": margin, "subgroups": subgroup_margin is not None}
            client.models.set_gate(
                name, rule | ({} if subgroup_margin is None else {"subgroup_margin": subgroup_margin})
            )
        found = client.models.get(name).get("gate")
    if raw:
        screen.as_json(found)
    else:
        screen.lines([("Model", name), ("Gate", gate_text(found))])


def gate_text(rule: Mapping[str, Any] | None) -> str:
    """A gate in one sentence."""
    if not rule:
        return "none: any version may be promoted"
    said = f"{rule['metric']} may lose {rule.get('margin', 0):g} at most (lower end of the interval)"
    return f"{said}; a subgroup {rule.get('subgroup_margin', 0.05):g}" if rule.get("subgroups") else said
