"""One child process of the stack: its command, its log, its restarts."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

BACKOFF_S = (0.5, 30.0)
"""First and longest pause before a child that died is started again; it doubles in between."""

STEADY_S = 10.0
"""A child that ran this long could start, and starts again after the first pause: what cannot (a port that is taken, a
package that is missing) ends sooner."""

KILLED_S = 10.0
"""A killed process that lasts longer hangs in the kernel, and nobody waits for it."""

LOG_LIMIT = 20_000_000
"""Bytes after which a log is moved to `.1`; so a stack that runs for months keeps 40 MB per child."""


class Child:
    """A program in a session of its own, so that a Ctrl-C on the terminal reaches only the stack's process."""

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path, stage: int = 0):
        """`stage` 0 is ended first, 1 (Redis) last."""
        self.name, self.argv, self.env, self.cwd, self.log, self.stage = name, list(argv), dict(env), cwd, log, stage
        self.process: subprocess.Popen[bytes] | None = None
        self.deaths = 0
        self.restart_at: float | None = None
        self._pause = 0.0
        self._started = 0.0

    @property
    def pid(self) -> int:
        """The process id, which is also its group's; 0 while it does not run."""
        return 0 if self.process is None else self.process.pid

    def start(self) -> None:
        """Start the program; its output goes to the end of its log."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                env=self.env,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started, self.restart_at = time.monotonic(), None

    def died(self) -> str | None:
        """Why it ended, once, when it has ended since the last call; a restart is then due at `restart_at`."""
        if self.process is None or (status := self.process.poll()) is None:
            return None
        self.process = None
        self.deaths += 1
        lived = time.monotonic() - self._started
        self._pause = BACKOFF_S[0] if lived > STEADY_S or not self._pause else min(self._pause * 2, BACKOFF_S[1])
        self.restart_at = time.monotonic() + self._pause
        return f"killed by signal {-status}" if status < 0 else f"exit code {status}"

    def forget(self) -> None:
        """Collect the process after its group was ended; it is not started again."""
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(KILLED_S)
        self.process = self.restart_at = None

    def rotate(self) -> None:
        """Keep the log below `LOG_LIMIT`. The child appends, so that its next line goes to the emptied file."""
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            shutil.copyfile(self.log, self.log.with_name(self.log.name + ".1"))
            with self.log.open("r+b") as file:
                file.truncate(0)

    def tail(self, count: int = 5) -> list[str]:
        """The last lines of its log that are not empty."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 8192))
            text = file.read().decode(errors="replace")
        return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]
