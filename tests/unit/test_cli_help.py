"""The command line answers at once, and explains itself."""

from __future__ import annotations

import subprocess
import sys
import time

import click
import pytest
from click.testing import CliRunner

from medjobs.main import COMMANDS, main

HEAVY = {"torch", "sqlalchemy", "flask", "celery", "pydantic", "httpx", "rich", "numpy", "pydicom"}


def test_help_answers_within_half_a_second() -> None:
    took = []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run([sys.executable, "-P", "-m", "medjobs", "--help"], check=True, capture_output=True)
        took.append(time.monotonic() - started)
    assert min(took) < 0.5


def test_help_imports_nothing_heavy() -> None:
    look = "import sys\ntry:\n from medjobs.main import main; main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout
    assert HEAVY.isdisjoint(shown.splitlines()[-1].split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_explains_itself(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    shown = CliRunner().invoke(main, [name, "--help"])
    assert shown.exit_code == 0
    assert command.help
    assert f"  {name} " in CliRunner().invoke(main, ["--help"]).output


def test_the_wrong_word_is_a_usage_error() -> None:
    assert CliRunner().invoke(main, ["nonsense"]).exit_code == 2
    assert CliRunner().invoke(main, ["submit"]).exit_code == 2
    assert CliRunner().invoke(main, ["submit", "no-such-file.dcm"]).exit_code == 2


def test_a_closed_pipe_makes_no_noise() -> None:
    command = f"{sys.executable} -P -m medjobs --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
