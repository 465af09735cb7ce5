"""`medjobs workers`: who lives, and `drain`, which takes a worker or a whole host out of service."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from jobs.needs import model_of
from medjobs.commands.listing import as_json_option, model_name
from medjobs.failing import Trouble

if TYPE_CHECKING:
    from medjobs.client import Client

POLL_S = 1.0
"""Pause between two looks at who still drains."""


@click.group(invoke_without_command=True)
@as_json_option
@click.pass_context
def workers(context: click.Context, raw: bool) -> None:
    """List the live workers: host, device, memory, how many jobs each runs."""
    if context.invoked_subcommand is not None:
        return
    from medjobs import screen
    from medjobs.client import Client

    with Client() as client:
        found = client.get("/v1/workers")
    if raw:
        screen.as_json(found)
        return
    print_workers(found["workers"])


@workers.command()
@click.argument("name", metavar="HOST|WORKER")
@click.option("--wait", is_flag=True, help="Return once they have stopped.")
def drain(name: str, wait: bool) -> None:
    """Let a worker, or every worker of a host, end what it has, take nothing more, and stop for good.

    Jobs that do not end within MEDJOBS_DRAIN_S go back to the queue, uncharged, a training with its checkpoint.
    `medjobs worker` ends by itself when all of its workers have stopped. Needs a token with the scope admin.
    """
    from medjobs.client import Client

    with Client() as client:
        told = client.drain(name)
        if not told:
            raise Trouble(f"No live worker and no host is called {name}.", "See `medjobs workers`.")
        for worker in told:
            click.echo(f"{worker['id']} drains; it runs {worker['running']} jobs.")
        if wait:
            _wait(client, name)
            click.echo(f"{name} has stopped.")


def _wait(client: Client, name: str) -> None:
    """Until none of that name lives. One that crashed while it drained has been replaced: the new one is told, too."""
    while left := [one for one in client.get("/v1/workers")["workers"] if name in (one["id"], one["host"])]:
        if any(one["state"] != "draining" for one in left):
            client.drain(name)
        time.sleep(POLL_S)


def print_workers(found: Sequence[dict[str, Any]]) -> None:
    """A table, a row for each."""
    from medjobs import screen

    columns = ("worker", "host", "pool", "device", "state", "pid", "memory", "running", "restarts")
    drawn = screen.table(columns, [_row(worker) for worker in found], right=("pid", "memory", "running", "restarts"))
    screen.console().print(drawn if found else "No live worker. Start one with `medjobs worker`, or `medjobs up`.")
    for worker in found:
        if held := (worker["memory"] or {}).get("models"):
            screen.entry(f"{worker['id']}: ", f"holds {', '.join(map(_resident, held))}")
        needs = [one.removeprefix(f"medjobs.{worker['pool']}.") for one in worker["queues"]]
        if alone := list(dict.fromkeys(name for name in map(model_of, needs) if name is not None)):
            screen.entry(f"{worker['id']}: ", f"takes jobs of {', '.join(alone)} alone")
        if worker.get("last_exit"):
            ended = worker["last_exit"]
            screen.entry(f"{worker['id']}: ", f"before it, {ended['reason']}, {screen.clock(ended['at'])}")


def _resident(model: dict[str, Any]) -> str:
    """A loaded model with what it takes of the device, where that is known."""
    from medjobs import screen

    name = model["kind"] if model["model"] is None else model_name({"name": model["model"], **model})
    return f"{name} ({screen.size(model['bytes'])})" if model["bytes"] else name


def _row(worker: dict[str, Any]) -> tuple[object, ...]:
    from medjobs import screen

    memory = (worker["memory"] or {}).get("rss")
    size = "" if memory is None else screen.size(memory)
    names = ("id", "host", "pool", "device", "state", "pid")
    return *(worker[name] for name in names), size, worker["running"], worker.get("restarts") or ""
