"""A user's home with the whole stack running in it, from `.venv/bin` as README and docs tell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from medjobs.client import Client


class Home:
    """A home folder with `medjobs up` running in it."""

    def __init__(self, folder: Path, **settings: str) -> None:
        """`settings`: further environment variables of the stack and of the commands, such as MEDJOBS_LEASE_LONG_S."""
        self.folder, self.medjobs = folder, folder / ".medjobs"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MEDJOBS_")}
        self.environment = {**kept, "HOME": str(folder), **settings}
        self.screen = folder / "screen"
        command = [sys.executable, "-P", "-m", "medjobs", "up", "--port", "0", "--flower-port", "0", "--devices", "cpu"]
        with self.screen.open("w") as out:
            self.up = subprocess.Popen(command, env=self.environment, cwd=folder, stdout=out, stderr=out)
        deadline = time.monotonic() + 120
        while "Ctrl-C" not in self.screen.read_text():
            assert self.up.poll() is None, self.screen.read_text()
            assert time.monotonic() < deadline, self.screen.read_text()
            time.sleep(0.1)
        self.url = (self.medjobs / "url").read_text().strip()
        self.token = (self.medjobs / "token").read_text().strip()

    def client(self) -> Client:
        """A client with the admin token."""
        return Client(self.url, self.token)

    def run(self, *typed: str, code: int = 0) -> str:
        """Type a `medjobs` command in the home; what it prints on stdout. Fails where its exit code is another."""
        command = [sys.executable, "-P", "-m", "medjobs", *typed]
        done = subprocess.run(command, env=self.environment, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == code, f"medjobs {' '.join(typed)}\n{done.stdout}{done.stderr}{self.logs()}"
        return done.stdout

    def json(self, *typed: str, code: int = 0) -> Any:
        """Type a command with --json."""
        return json.loads(self.run(*typed, "--json", code=code))

    def long_child(self) -> psutil.Process:
        """The process that a long job runs in."""
        return long_child(psutil.Process(self.up.pid))

    def logs(self) -> str:
        """The last lines of every log."""
        files = sorted((self.medjobs / "logs").glob("*"))
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in files)

    def stop(self) -> None:
        """Ctrl-C."""
        self.up.send_signal(signal.SIGINT)
        self.up.wait(30)


def long_child(up: psutil.Process) -> psutil.Process:
    """The process that a long job runs in, below a `medjobs up`: the newest, for each job has one of its own."""
    every = up.children(recursive=True)
    workers = [one for one in every if {"long", "--device"} <= set(words(one))]
    children = [child for one in workers for child in one.children() if "spawn" in " ".join(words(child))]
    return max(children, key=psutil.Process.create_time)


def words(process: psutil.Process) -> list[str]:
    """Its command line; empty where it has ended meanwhile."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []
