"""What a place tells of the processes that ended in it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from workers import place


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ("import sys; sys.exit(3)", "exited with status 3"),
        (f"import sys; sys.exit({place.EXIT_STUCK})", "ended itself: a decode, a predict or a load did not end"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL (9), often by the kernel"),
        ("import os; os.abort()", "killed by SIGABRT (6)"),
    ],
)
def test_the_end_of_a_process_is_told_in_words(ends: str, said: str) -> None:
    """Given a process that really ends so, then its exit status reads as a person would say it."""
    process = subprocess.run([sys.executable, "-c", ends], stderr=subprocess.DEVNULL)
    assert place.words(process.returncode).startswith(said)


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    unnamed = next(n for n in range(1, 65) if n not in set(signal.Signals))
    assert place.words(-unnamed) == f"killed by signal {unnamed}"


def test_a_process_without_a_supervisor_has_no_history() -> None:
    assert place.history({}) == {"restarts": 0, "last_exit": None}
    assert place.history({place.HISTORY: "no JSON"}) == {"restarts": 0, "last_exit": None}
