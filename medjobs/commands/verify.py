"""`medjobs verify`: the same job again, and every number of its result against the first."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from medjobs.commands.listing import as_json_option

if TYPE_CHECKING:
    from medjobs.client import Job
    from medjobs.verifying import Unlike

MOST_SHOWN = 30
"""Differences printed; --json has them all."""

LONGEST_CELL = 24


@click.command()
@click.argument("job")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="Seconds to wait.  [default: until it ends]")
@as_json_option
def verify(job: str, timeout: float | None, raw: bool) -> int:
    """Run a JOB again with the same model version, inputs, parameters and seed, and compare the results.

    The exit code is 0 where they are identical, 1 where anything differs. On the same device with the same number of
    threads and the same libraries nothing may differ; elsewhere the largest difference of two numbers is told.
    """
    from medjobs import reference
    from medjobs.client import Client
    from medjobs.commands.submit import finish, say_failed

    with Client() as client:
        first = reference.find(client, job)
        before = first.result()
        again = first.rerun()
        finish(again, timeout or math.inf, f"Running {first.id} again")
        if again.state != "succeeded":
            return say_failed(again, raw)
        return _report(first, again, before.raw, again.result().raw, raw)


def _report(first: Job, again: Job, before: dict[str, Any], after: dict[str, Any], raw: bool) -> int:
    from medjobs import screen, verifying

    found = verifying.differences(before, after)
    if raw:
        unlike = [{"place": one.place, "first": one.first, "second": one.second} for one in found]
        screen.as_json({"job": first.id, "again": again.id, "identical": not found, "differences": unlike})
        return 1 if found else 0
    screen.lines([("Job", first.id), ("Run again as", again.id)])
    if not found:
        click.echo(f"identical: every item ({len(before['items'])}), and all that the provenance names.")
        return 0
    rows = [(one.place, _cell(one.first), _cell(one.second)) for one in found[:MOST_SHOWN]]
    screen.console().print(screen.table(("what differs", "first", "again"), rows))
    if len(found) > MOST_SHOWN:
        click.echo(f"... and {len(found) - MOST_SHOWN} more: medjobs verify --json")
    for line in _explained(found):
        screen.entry("", line)
    return 1


def _explained(found: Sequence[Unlike]) -> list[str]:
    from medjobs import verifying

    said = []
    if (gap := verifying.largest(found)) is not None:
        said.append(f"The largest difference of two numbers is {gap:.3g}.")
    if verifying.same_circumstances(found):
        said.append("Device, threads and libraries were the same: such a difference is a defect; please report it.")
    else:
        said.append("Device, threads or libraries were not the same: the last digits of numbers may differ.")
    return said


def _cell(value: Any) -> str:
    text = "(nothing)" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 3]}..."
