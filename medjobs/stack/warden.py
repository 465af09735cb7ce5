"""Ends process groups; and, run as a script, ends the stack's when the stack's own process was killed.

The script reads lines from a pipe that only the stack's process holds open: `+ STAGE PGID` when a child starts,
`- STAGE PGID` when it ended. The pipe's end means that the process is gone, even by kill -9: whatever is then still
listed is ended, stage by stage. Only the standard library, because this process lives as long as the stack.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable

GRACE_S = (14.0, 3.0)
"""Seconds that each stage gets between SIGTERM and SIGKILL: the programs, then Redis. Within 20 s in all."""


def alive(group: int) -> bool:
    """Whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def end(stages: Iterable[Iterable[int]], reap: Callable[[], None] = lambda: None) -> list[int]:
    """SIGTERM each stage's groups, then SIGKILL what is left after its grace; returns the groups that were killed.

    `reap` is called while waiting: a parent must collect its children, or their groups never empty.
    """
    killed = []
    for groups, grace in zip(stages, GRACE_S, strict=True):
        left = [group for group in groups if _send(group, signal.SIGTERM)]
        deadline = time.monotonic() + grace
        while left and time.monotonic() < deadline:
            time.sleep(0.02)
            reap()
            left = [group for group in left if alive(group)]
        for group in left:
            kill(group)
            killed.append(group)
        reap()
    return killed


def kill(group: int) -> None:
    """SIGKILL whatever is left of the group."""
    _send(group, signal.SIGKILL)


def _send(group: int, number: signal.Signals) -> bool:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main() -> None:
    """Read the list until the pipe ends, then end what is on it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    stages: tuple[set[int], set[int]] = (set(), set())
    for line in sys.stdin:
        sign, stage, group = line.split()
        (stages[int(stage)].add if sign == "+" else stages[int(stage)].discard)(int(group))
    end(stages)


if __name__ == "__main__":
    main()
