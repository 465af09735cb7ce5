"""`medjobs train`: train a model on a data set and, with --watch, see it learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from medjobs.client import Client, Job


@click.command()
@click.argument("kind")
@click.option("--data", "dataset", required=True, metavar="NAME", help="Data set, as `medjobs data list` names it.")
@click.option(
    "--minutes", type=click.FloatRange(0, 1440, min_open=True), help="Time to spend.  [default: the recipe's epochs]"
)
@click.option("--recipe", help="How to train.  [default: the kind's first]")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A setting of the recipe; repeatable.")
@click.option("--name", help="Name of the model.  [default: the data set's]")
@click.option("--parent", metavar="NAME@VERSION", help="Version whose networks it starts from; trees are made anew.")
@click.option("--augment-with", metavar="NAME@VERSION", help="Generator whose virtual images join the training part.")
@click.option("--ratio", type=click.FloatRange(0, 20, min_open=True), help="Virtual images per real one.  [default: 1]")
@click.option("--seed", type=int, help="Seed of every random choice.  [default: drawn]")
@click.option("--devices", type=click.IntRange(1), help="GPUs to train on.  [default: 1]")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="A label of your own; repeatable.")
@click.option("--watch", is_flag=True, help="Follow it with its curves, and show the figures at the end.")
@click.option("--json", "raw", is_flag=True, help="Print the job, or with --watch the new version, as JSON.")
def train(kind: str, overrides: Sequence[str], labels: Sequence[str], watch: bool, raw: bool, **chosen: Any) -> int:
    """Train a model of KIND (diagnosis, prediction, screening, synthesis) on a data set and register it as a version.

    The new version is the model's `candidate`; `medjobs models promote` puts it into production. Ctrl-C leaves the
    training running. The exit code is that of the job.
    """
    from medjobs import reference, screen
    from medjobs.client import Client

    options = {
        "overrides": reference.values(overrides, "--set") or None,
        "labels": reference.pairs(labels, "--label") or None,
    }
    with Client() as client:
        job = client.train(kind, **{**chosen, **options})
        if watch:
            return outcome(client, _watched(job, raw), raw)
        if raw:
            screen.as_json(job.data)
        else:
            screen.lines([("Job", job.id), ("State", job.state), ("Follow", f"medjobs watch {job.id}")])
    return 0


def _watched(job: Job, raw: bool) -> Job:
    from medjobs import curves
    from medjobs.commands.submit import finish

    if not raw:
        return curves.watch(job)
    finish(job)
    return job


def outcome(client: Client, job: Job, raw: bool = False) -> int:
    """Print what came of a training that has ended: figures, baseline, and where it is registered."""
    from medjobs import figures, screen
    from medjobs.commands.submit import say_failed

    if job.state != "succeeded":
        return say_failed(job, raw)
    (item,) = job.result().items
    made = client.models.version(item["version"]["name"], item["version"]["version"])
    if raw:
        screen.as_json(made)
        return 0
    manifest, name = made["manifest"], f"{made['name']}@{made['version']}"
    screen.console().print(figures.drawn(manifest))
    if said := figures.verdict(manifest):
        click.echo(said)
    if item.get("existing"):
        click.echo(f"The same as {name}, to the last bit: nothing new was registered.")
    else:
        aliases = ", ".join(made["aliases"])
        click.echo(f"Registered as {name}{f' ({aliases})' if aliases else ''}.")
    first = f"medjobs models compare {made['name']}@production {name}"
    screen.lines([("Report", f"medjobs open {job.id}"), ("Compare", first), ("Use", f"medjobs models promote {name}")])
    return 0
