"""`medjobs demo`: the whole system once, on synthetic chest images, on a screen that a stranger can read."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from medjobs.client import Client, Job, Result
    from medjobs.stack.embedded import Stack


LONGEST_S = 180.0
"""The two dozen images take seconds; a demo that takes longer has failed and must say so."""


@click.command()
@click.option("--break", "breaking", is_flag=True, help="Kill, flush and freeze while 40 jobs run; then count.")
@click.option("--home", type=click.Path(file_okay=False, path_type=Path), help="Home to use.  [default: a new one]")
@click.option("--save", type=click.Path(file_okay=False, path_type=Path), help="Folder for pictures and report.")
def demo(breaking: bool, home: Path | None, save: Path | None) -> int:
    """Start a stack on free ports, diagnose synthetic chest images, show what came out, and stop everything.

    With --break, 40 jobs run while a worker is killed, Redis is flushed and a worker is frozen past its lease; the
    ledger at the end says what became of every job.
    """
    from medjobs.failing import Trouble
    from medjobs.samples import chest_images

    images = chest_images()
    if not images:
        remedy = "Install medjobs from its wheel or a full clone; examples/data holds them."
        raise Trouble("The example images are not part of this installation.", remedy)
    place = (home or Path(tempfile.mkdtemp(prefix="medjobs-demo-"))).absolute()
    try:
        if breaking:
            from medjobs.breaking import Load, break_it

            return break_it(place, Load(images))
        return show(place, images, (save or place / "results").absolute())
    finally:
        if home is None:
            _tidy(place)


def show(home: Path, images: Sequence[Path], folder: Path) -> int:
    """The peaceful demo; 0 where every job succeeded."""
    from medjobs.client import Client
    from medjobs.screen import progress_line
    from medjobs.stack.running import running

    headline("medjobs demo: from DICOM to a finding, through API, Redis, Celery, PyTorch and SQL")
    started = time.monotonic()
    with progress_line("Starting") as report, running(home, (devices(),), {}, click.echo, report) as stack:
        report(f"Started Redis, API, worker ({devices()}), keeper and Flower in {time.monotonic() - started:.1f} s.")
        click.echo(f"  API {stack.url}   Flower {stack.flower_url}\n")
        with Client(stack.url, stack.home.token.read_text().strip()) as client:
            job = _submit(client, images, stack.home.logs)
            if job.state != "succeeded":
                click.echo(f"The job failed: {job.data['error']}. Logs: {stack.home.logs}")
                return 1
            _results(job, images, folder)
        _flower(stack, job)
    click.echo("Stopped; nothing runs any more. Now yours:")
    for command in ("medjobs up", "medjobs submit FILE --wait", "medjobs demo --break"):
        click.echo(f"  {command_path()} {command.partition(' ')[2]}")
    return 0


def headline(title: str) -> None:
    """The title, and what must stand on every screen of findings."""
    click.echo(click.style(title, bold=True))
    click.echo("Research use only, not a medical device. All images are SYNTHETIC: drawn by a model, of no patient.")
    click.echo()


def devices() -> str:
    """The devices of this machine, as `--devices` takes them."""
    from workers.devices import expand

    return ",".join(expand("auto"))


def command_path() -> str:
    """`medjobs` as it can be typed here: the bare name where it is on PATH."""
    import sys

    if shutil.which("medjobs"):
        return "medjobs"
    beside = Path(sys.executable).with_name("medjobs")
    try:
        return str(beside.relative_to(Path.cwd()))
    except ValueError:
        return str(beside)


def _submit(client: Client, images: Sequence[Path], logs: Path) -> Job:
    from medjobs.client import WaitTimeout
    from medjobs.commands.submit import finish
    from medjobs.failing import Trouble

    click.echo(f"Submitting {len(images)} synthetic chest X-rays (DICOM) to the model chest-pneumonia")
    started = time.monotonic()
    job = client.submit("diagnosis", *images, model="chest-pneumonia", labels={"data": "SYNTHETIC"})
    click.echo(f"  job {job.id} accepted (202)")
    try:
        finish(job, timeout=LONGEST_S)
    except WaitTimeout as error:
        raise Trouble(f"{error.title} after {LONGEST_S:.0f} s.", f"See the logs in {logs}.") from error
    click.echo(f"  job {job.id} {job.state} after {time.monotonic() - started:.2f} s, uploads included\n")
    return job


def _results(job: Job, images: Sequence[Path], folder: Path) -> None:
    from medjobs import findings
    from medjobs.screen import console, entry, lines

    result = job.result()
    saved = findings.save(job, result, folder)
    names = [path.name for path in images]
    console().print(findings.drawn(result, names))
    positive = [item for item in result.items if any(f["decision"] == "positive" for f in item.get("findings", ()))]
    doubtful = [item for item in result.items if item.get("uncertainty", {}).get("abstain")]
    click.echo(f"\n{len(result.items)} SYNTHETIC images: {len(positive)} positive, {len(doubtful)} sent to a clinician")
    click.echo("Uncertainty is the entropy: 0 bit is sure, 1 bit is undecided. Where it abstains, it says why:")
    for line in findings.doubts(result, names) or ["(it abstains nowhere)"]:
        entry("  ", line)
    click.echo()
    lines([("Heatmap", _heatmap(result, saved)), ("Report", saved["report.html"]), ("Files", f"{folder}/")])
    click.echo()


def _heatmap(result: Result, saved: dict[str, Path]) -> Path | str:
    """The first evidence picture, of a positive image where there is one."""
    ranked = sorted(
        result.items, key=lambda item: -max((f["probability"] for f in item.get("findings", ())), default=0)
    )
    names = [e["artifact"] for item in ranked for e in item.get("evidence", ()) if e.get("artifact")]
    return saved.get(names[0], names[0]) if names else "none: the model's maps did not pass their audit"


def _flower(stack: Stack, job: Job) -> None:
    """The same job as Flower's API shows it; its events arrive a moment after the job ended."""
    import httpx

    password = stack.home.flower_password.read_text().strip()
    seen: dict[str, Any] = {}
    deadline = time.monotonic() + 15
    while seen.get("state") != "SUCCESS" and time.monotonic() < deadline:
        answer = httpx.get(f"{stack.flower_url}/api/task/info/{job.id}", auth=("medjobs", password), timeout=10)
        seen = answer.json() if answer.status_code == 200 else {}
        time.sleep(0.2)
    click.echo(f"The same job in Flower: {stack.flower_url}/api/task/info/{job.id}")
    click.echo(f"  name={seen.get('name')}  state={seen.get('state')}  runtime={seen.get('runtime') or 0:.2f} s")
    click.echo(f"  args={seen.get('args')}  (the id is all that Redis and Flower see of a job)\n")


def _tidy(home: Path) -> None:
    """Of a home of our own making only the results stay, and the logs where there are no results."""
    results = home / "results"
    if results.exists():
        for entry in home.iterdir():
            if entry != results:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
