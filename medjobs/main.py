"""The `medjobs` command. Its commands are imported only when typed, so that `--help` answers at once."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from medjobs.failing import shown

COMMANDS = {
    "up": ("medjobs.commands.up:up", "Start the whole stack here, in the foreground."),
    "submit": ("medjobs.commands.submit:submit", "Upload files and submit them as one job."),
    "jobs": ("medjobs.commands.listing:jobs", "List jobs, newest first."),
    "show": ("medjobs.commands.listing:show", "One job: its state, each attempt, its findings."),
    "open": ("medjobs.commands.following:open_report", "Open a job's report."),
    "watch": ("medjobs.commands.following:watch", "Follow a job's events until it ends."),
    "cancel": ("medjobs.commands.following:cancel", "Cancel jobs."),
    "data": ("medjobs.commands.data:data", "Add, list and remove data sets for training; fetch public ones."),
    "train": ("medjobs.commands.train:train", "Train a model on a data set, and watch it learn."),
    "models": ("medjobs.commands.models:models", "List, show, compare, promote, add and export models."),
    "verify": ("medjobs.commands.verify:verify", "Run a job again and compare every number of its result."),
    "preflight": ("medjobs.commands.preflight:preflight", "Say which model takes which DICOM, without inference."),
    "workers": ("medjobs.commands.workers:workers", "List the live workers; drain a worker or a host."),
    "demo": ("medjobs.commands.demo:demo", "Show everything once, on example images; --break to break it."),
    "doctor": ("medjobs.commands.doctor:doctor", "Check this installation and say what to do."),
    "alive": ("medjobs.commands.alive:alive", "Say whether a part on this host does its work, for healthchecks."),
    "worker": ("medjobs.commands.services:worker", "Start a worker in the foreground."),
    "keeper": ("medjobs.commands.services:keeper", "Start a keeper in the foreground."),
    "flower": ("medjobs.commands.services:flower", "Start Flower in the foreground."),
    "db": ("medjobs.commands.services:db", "Upgrade the database."),
    "storage": ("medjobs.commands.storage:storage", "Copy all files into another storage."),
    "token": ("medjobs.commands.tokens:token", "Create, list and revoke access tokens."),
}
"""Command -> where it lives, and the line that stands in `--help`, in the order of a first day with medjobs."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run, not when they are listed."""

    def __init__(self, **attributes: Any) -> None:
        """`commands` holds a line of help per command, in order; the command itself comes from `get_command`."""
        lines = {name: click.Command(name, short_help=summary) for name, (_, summary) in COMMANDS.items()}
        super().__init__(commands=lines, **attributes)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order of `COMMANDS`, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def main(self, args: Sequence[str] | None = None, *_: Any, standalone_mode: bool = True, **rest: Any) -> Any:
        """Run the command; every expected error ends in two lines and an exit code, never a traceback."""
        run = super().main
        if not standalone_mode:
            return run(args, standalone_mode=False, **rest)
        sys.exit(shown(lambda: run(args, standalone_mode=False, **rest)))


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        import medjobs

        click.echo(f"medjobs {medjobs.__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def main() -> None:
    """Medical AI as jobs: submit images or patients, get findings or risks; train models of your own.

    Start with `medjobs up` in one terminal and `medjobs submit FILE --wait` in another. Commands find the server
    through MEDJOBS_URL and MEDJOBS_TOKEN, or through what `medjobs up` left in MEDJOBS_HOME (default ~/.medjobs).

    Research use only, not a medical device.
    """


if __name__ == "__main__":
    main()
