"""What there is: `jobs`, `show`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from medjobs.failing import USAGE, Trouble

STATES = ("queued", "running", "succeeded", "failed", "cancelled")

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

as_json_option = click.option("--json", "raw", is_flag=True, help="Print JSON.")


@click.command()
@click.option("--state", type=click.Choice(STATES), help="Only jobs in this state.")
@click.option("--kind", help="Only this kind.")
@click.option("--model", help="Only this model, as name or name@version.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Only with this label; repeatable.")
@click.option("--since", metavar="TIME", help="Only younger ones: 30m, 2h, 7d or an RFC 3339 time.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@as_json_option
def jobs(labels: Sequence[str], since: str | None, limit: int, raw: bool, **filters: str | None) -> None:
    """List jobs, newest first."""
    from medjobs import reference, screen
    from medjobs.client import Client

    with Client() as client:
        asked = {
            "labels": reference.pairs(labels, "--label"),
            "created_after": None if since is None else moment(since),
        }
        found = [job.data for job in client.jobs(limit=limit, **asked, **filters)]
    if raw:
        screen.as_json(found)
        return
    columns = ("id", "kind", "state", "model", "created", "took")
    drawn = screen.table(columns, [_row(job) for job in found], right=("took",))
    screen.console().print(drawn if found else "No jobs.")


def _row(job: dict[str, Any]) -> tuple[object, ...]:
    from medjobs import screen

    took = screen.span(screen.seconds_between(job["started_at"], job["finished_at"]))
    return job["id"], job["kind"], job["state"], model_name(job["model"]), screen.when(job["created_at"]), took


def model_name(model: dict[str, Any] | None) -> str:
    """`name@version`, empty for a job without a model."""
    return f"{model['name']}@{model['version']}" if model else ""


def moment(text: str) -> str:
    """`2h` ago, or an RFC 3339 time, as RFC 3339 in UTC."""
    try:
        if text[-1:] in UNITS and text[:-1].replace(".", "", 1).isdigit():
            at = datetime.now(UTC) - timedelta(seconds=float(text[:-1]) * UNITS[text[-1]])
        else:
            at = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Trouble("--since is not a time.", "Use 30m, 2h, 7d or 2026-01-31T08:00:00Z.", USAGE) from None
    return at.isoformat().replace("+00:00", "Z")


@click.command()
@click.argument("job")
@as_json_option
def show(job: str, raw: bool) -> None:
    """Show one JOB (its id, or the beginning of it): its state, each attempt and why it ended, what came of it."""
    from medjobs import findings, reference, screen
    from medjobs.client import Client
    from medjobs.commands.train import outcome

    with Client() as client:
        found = reference.find(client, job)
        if raw:
            screen.as_json(found.data)
            return
        screen.lines(_facts(found.data))
        if found.state == "queued" and not served(client.get("/v1/workers")["workers"], found.data["queue"]):
            screen.entry("Waits:  ", f"no live worker serves {found.data['queue']}; start one on a device that does")
        rows = [_attempt(attempt) for attempt in found.data["attempts"]]
        drawn = screen.table(("attempt", "worker", "start", "end", "why it ended"), rows, right=("attempt",))
        screen.console().print(drawn if rows else "No worker has taken it yet.")
        if found.state == "succeeded" and found.kind == "training":
            outcome(client, found)
        elif found.state == "succeeded":
            result = found.result()
            screen.console().print(findings.drawn(result, ()))
            for line in findings.doubts(result, ()):
                screen.entry("abstains: ", line)
            for line in (*findings.failures(result, ()), str(result.raw.get("disclaimer", ""))):
                screen.entry("", line)


def _facts(job: dict[str, Any]) -> list[tuple[str, object]]:
    from medjobs import screen

    took = screen.span(screen.seconds_between(job["started_at"], job["finished_at"]))
    progress, error = job.get("progress") or {}, job.get("error") or {}
    doing = " ".join(str(part) for part in (progress.get("stage"), progress.get("message")) if part)
    facts = {
        "Job": job["id"],
        "State": f"{job['state']}{f' after {took}' if took and job['finished_at'] else ''}",
        "Kind": job["kind"],
        "Model": model_name(job["model"]),
        "By": job.get("submitted_by"),
        "Queue": job["queue"] if job["state"] == "queued" else "",
        "Created": screen.clock(job["created_at"]),
        "Labels": ", ".join(f"{name}={value}" for name, value in job["labels"].items()),
        "Progress": f"{100 * (progress.get('fraction') or 0):.0f} % {doing}" if job["state"] == "running" else "",
        "Error": f"{error.get('code')}: {error.get('detail')}" if error else "",
    }
    return [(name, value) for name, value in facts.items() if value]


def served(workers: Sequence[dict[str, Any]], queue: str) -> bool:
    """Whether one of the live workers takes jobs from the queue."""
    return any(queue in worker["queues"] for worker in workers)


def _attempt(attempt: dict[str, Any]) -> tuple[object, ...]:
    from medjobs import screen

    error = attempt.get("error") or {}
    why = ": ".join(str(part) for part in (attempt["outcome"], error.get("code")) if part) or "still running"
    start, end = screen.clock(attempt["started_at"]), screen.clock(attempt["ended_at"])
    return attempt["number"], attempt["worker"], start, end, why
