"""`medjobs up`: the embedded stack in the foreground, its start told in six lines."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click

from medjobs.failing import USAGE, Trouble


@click.command()
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="API port; 0: a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that the API listens on.")
@click.option("--devices", default="auto", show_default=True, help="auto, cpu, cpu:N, or GPUs such as 0,1 or MIG-... .")
@click.option("--flower-port", type=click.IntRange(0, 65535), help="Flower's port.  [default: 5555, else a free one]")
def up(port: int, host: str, devices: str, flower_port: int | None) -> int:
    """Start the whole stack here, in the foreground: Redis, API, workers, keeper and Flower.

    All of it lives in MEDJOBS_HOME (default ~/.medjobs), logs included. Ctrl-C stops everything; the jobs stay, and
    the next `medjobs up` goes on with them.
    """
    from medjobs.environment import read_settings
    from medjobs.stack.embedded import Options, Stack

    found = expanded(devices)
    stack = Stack(read_settings(), Options(host, port, flower_port, (found,), found.partition(",")[0]), say=click.echo)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    with _status() as report:

        def tell(stage: str) -> None:
            if ended.is_set():
                raise click.Abort
            report(stage)

        stack.start(tell)
    for line in welcome(stack):
        click.echo(line)
    while not ended.wait(0.2):
        stack.tend()
    click.echo("Stopping ...")
    killed = stack.stop()
    forced = f" (by force: {', '.join(killed)})" if killed else ""
    click.echo(f"Stopped{forced}. The jobs are kept in {short(stack.home.path)}.")
    return 0


def expanded(devices: str) -> str:
    """`auto`, `cpu` or `0,1` as the devices of this machine, separated by commas; one inference worker each."""
    from workers.devices import expand

    try:
        return ",".join(expand(devices))
    except ValueError as error:
        raise Trouble(
            f"--devices {devices}: {error}", "Use auto, cpu, or the numbers that nvidia-smi lists.", USAGE
        ) from None


def _status() -> AbstractContextManager[Callable[[str], None]]:
    """Says on a terminal what is being started; elsewhere nothing, so that the output is the six lines alone."""
    if not sys.stderr.isatty():
        return nullcontext(lambda _: None)
    from medjobs.screen import starting

    return starting()


def welcome(stack: Any) -> list[str]:
    """The six lines: API, docs, Flower, token file, one submit command, how to stop."""
    home = stack.home
    return [
        f"API     {stack.url}",
        f"Docs    {stack.url}/docs",
        f"Flower  {stack.flower_url}  (user medjobs, password in {short(home.flower_password)})",
        f"Token   {short(home.token)}",
        f"Submit  {submit_command(stack)}",
        f"Stop    Ctrl-C (the jobs stay). Logs: {short(home.logs)}",
    ]


def submit_command(stack: Any) -> str:
    """One line to paste into another terminal, on an example image that comes with the installation."""
    from medjobs.samples import chest_images

    images = chest_images()
    image = shlex.quote(str(images[0])) if images else "chest.dcm"
    token = f"$(cat {short(stack.home.token)})"
    return f'curl -F kind=diagnosis -F file=@{image} -H "Authorization: Bearer {token}" {stack.url}/v1/jobs'


def short(path: Path) -> str:
    """The path as one would type it: with `~` for one's own home, quoted where a shell needs it."""
    try:
        return f"~/{shlex.quote(str(path.relative_to(Path.home())))}"
    except ValueError:
        return shlex.quote(str(path))
