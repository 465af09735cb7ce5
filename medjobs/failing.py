"""How a command fails: one line says what happened, one line says what to do, and the exit code says which sort."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

FAILED = 1
"""The work failed: a job failed, a check found something, a dependency is down."""

USAGE = 2
"""The command line is wrong."""

SAID = 3
"""Of a child of ours: the last two lines that it wrote to stderr are a `Trouble`."""


class Trouble(click.ClickException):
    """An expected failure: `happened` and `remedy` are one line each."""

    def __init__(self, happened: str, remedy: str, code: int = FAILED) -> None:
        """`code` becomes the exit code."""
        super().__init__(happened)
        self.remedy, self.code = remedy, code


def shown(command: Callable[[], Any]) -> int:
    """Run a command and return its exit code, having said on stderr why it failed."""
    try:
        returned = command()
        return returned if isinstance(returned, int) else 0
    except click.exceptions.Exit as ended:
        return int(ended.exit_code)
    except Trouble as trouble:
        return _say(trouble.message, trouble.remedy, trouble.code)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _say("Interrupted.", "", 130)
    except Exception as error:
        return _server_error(error)


def _server_error(error: Exception) -> int:
    from medjobs.client import MedjobsError

    if not isinstance(error, MedjobsError):
        raise error
    return _say(f"{error.title} [{error.code}].", "\n       ".join([error.detail, *error.particulars]), FAILED)


def _say(happened: str, remedy: str, code: int) -> int:
    click.echo(f"medjobs: {happened}", err=True)
    if remedy:
        click.echo(f"  do:  {remedy}", err=True)
    return code
