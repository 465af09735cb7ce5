"""`medjobs submit`: upload, submit, and with --wait the findings and where the pictures lie."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from medjobs.client import Client, Job, Result


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, readable=True, path_type=Path))
@click.option("--data", multiple=True, metavar="JSON", help="An input as JSON, for kinds that take it; repeatable.")
@click.option("--kind", default="diagnosis", show_default=True, help="Kind of job.")
@click.option("--model", help="Model, as name, name@version or name@alias.  [default: the kind's]")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter of the kind; repeatable.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="A label of your own; repeatable.")
@click.option("--priority", type=click.IntRange(0, 9), help="0 (lowest) to 9.  [default: 5]")
@click.option("--wait", is_flag=True, help="Wait for the end, then show the findings and save the pictures.")
@click.option("--save", type=click.Path(file_okay=False, path_type=Path), help="Folder for pictures and report.")
@click.option("--json", "raw", is_flag=True, help="Print the job, or with --wait its result, as JSON.")
def submit(files: Sequence[Path], data: Sequence[str], wait: bool, save: Path | None, raw: bool, **chosen: Any) -> int:
    """Upload FILES and submit them as one job, one item per file (a table of patients: one per patient; of molecules:
    one ranked list).

    A folder stands for the files in it, a .zip for the images in it. A patient is a JSON file or --data; a kind that
    takes no inputs, such as synthesis, is named without FILES:

    \b
      medjobs submit --kind prediction --wait \\
        --data '{"static": {"Age": 54}, "observations": [{"time": 2.5, "name": "HR", "value": 88}]}'
      medjobs submit --kind screening --data '{"smiles": "CCO"}' --wait
      medjobs submit --kind synthesis --model chest-gan --param count=64 --wait

    With --wait, pictures and report are saved in --save, or in ./medjobs-ID. The exit code is 0 where at least one
    item succeeded.
    """
    from medjobs import reference
    from medjobs.client import Client
    from medjobs.failing import USAGE, Trouble

    paths = reference.files(files)
    inline = [reference.json_object(text, "--data") for text in data]
    # Of a kind that was typed the server knows whether it takes inputs.
    source = click.get_current_context().get_parameter_source("kind")
    if not paths and not inline and (files or source is ParameterSource.DEFAULT):
        happened = "The folder holds no files." if files else "There is nothing to submit."
        raise Trouble(happened, "Name files, a folder with files in it, or --data JSON.", USAGE)
    options = {
        "model": chosen["model"],
        "priority": chosen["priority"],
        "params": reference.values(chosen["params"], "--param") or None,
        "labels": reference.pairs(chosen["labels"], "--label") or None,
    }
    with Client() as client:
        inputs = [*(upload(client, paths) if paths else ()), *({"data": one} for one in inline)]
        job = client.submit(chosen["kind"], *inputs, **options)
        if not wait and save is None:
            return _accepted(job, raw)
        finish(job)
        names = [*map(str, paths), *(f"--data {number + 1}" for number in range(len(inline)))]
        return show_result(job, names, save, raw)


def upload(client: Client, paths: Sequence[Path]) -> list[Any]:
    """Upload the files with a progress bar; returns the inputs of the job, a zip as an archive."""
    from medjobs.screen import bar

    inputs: list[Any] = []
    with bar(f"Uploading {len(paths)} file{'s' * (len(paths) != 1)}", sum(p.stat().st_size for p in paths)) as advance:
        for path in paths:
            file = client.upload(path, progress=advance)
            inputs.append({"archive": file} if path.suffix.lower() == ".zip" else file)
    return inputs


def finish(job: Job, timeout: float = math.inf, what: str = "", again: str = "") -> None:
    """Wait for the job's end with a progress bar; Ctrl-C leaves the job running and says how to return to it.

    `what` stands before the bar, `again` is the command to return with. Raises `medjobs.client.WaitTimeout` after
    `timeout` seconds.
    """
    from medjobs.client import WaitTimeout
    from medjobs.screen import bar

    deadline = time.monotonic() + timeout
    try:
        with bar(what or f"Job {job.id}", 1.0) as advance:
            shown = 0.0
            while not job.ended:
                if time.monotonic() > deadline:
                    raise WaitTimeout("wait-timeout", f"The job {job.id} is still {job.state}", "Look at the logs.")
                job.refresh(wait=1.0)
                fraction = float((job.data.get("progress") or {}).get("fraction") or 0.0)
                advance(max(0.0, fraction - shown))
                shown = max(shown, fraction)
            advance(1.0 - shown)
    except KeyboardInterrupt:
        click.echo(f"\nThe job goes on. Return to it with `{again or f'medjobs watch {job.id}'}`.", err=True)
        raise


def show_result(job: Job, names: Sequence[str], folder: Path | None, raw: bool) -> int:
    """Print what came of the job; 0 where anything succeeded, 1 else."""
    from medjobs.screen import as_json, lines

    if job.state != "succeeded":
        return say_failed(job, raw)
    result = job.result()
    if raw and folder is None:
        as_json(result.raw)
        return 0
    from medjobs import findings

    where = folder or Path(f"medjobs-{job.id[-8:]}")
    saved = findings.save(job, result, where)
    if raw:
        as_json({**result.raw, "saved": {name: str(path) for name, path in saved.items()}})
        return 0
    _print(result, names)
    lines([("Job", job.id), ("Files", f"{where}/"), ("Report", saved.get("report.html", ""))])
    return 0


def say_failed(job: Job, raw: bool) -> int:
    """Say why the job did not succeed; returns the exit code, 1."""
    from medjobs.screen import as_json

    if raw:
        as_json(job.data)
        return 1
    error = job.data.get("error") or {}
    said = f"{error.get('code', job.state)}: {error.get('detail', '')}".rstrip(": ")
    ending = "was cancelled" if job.state == "cancelled" else f"failed: {said}"
    click.echo(f"medjobs: The job {job.id} {ending}", err=True)
    click.echo(f"  do:  See each attempt with `medjobs show {job.id}`.", err=True)
    return 1


def _print(result: Result, names: Sequence[str]) -> None:
    from medjobs import findings
    from medjobs.screen import console, entry, printable

    screen = console()
    screen.print(findings.drawn(result, [Path(name).name for name in names]))
    for line in findings.doubts(result, [Path(name).name for name in names]):
        entry("abstains: ", line)
    failed = findings.failures(result, names)
    for line in failed:
        click.echo(printable(line), err=True)
    if failed:
        click.echo(f"{len(failed)} of {len(result.items)} inputs failed; the others have their result.", err=True)
    click.echo(str(result.raw.get("disclaimer") or "Research use only, not a medical device."))
    sys.stdout.flush()


def _accepted(job: Job, raw: bool) -> int:
    from medjobs.screen import as_json, lines

    if raw:
        as_json(job.data)
    else:
        lines([("Job", job.id), ("State", job.state), ("Follow", f"medjobs watch {job.id}")])
    return 0
