"""The API as it is started in production: `python -P -m api` in a subprocess, with the toy kinds installed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parents[2]
TOYS = ROOT / "tests" / "toy_kind"


class ApiServer:
    """One gunicorn with its worker process, on a free port."""

    def __init__(self, home: Path, cwd: Path | None = None, **settings: str) -> None:
        """`settings` are MEDJOBS_* variables without the prefix, in lower case."""
        self.home = home
        self.log = home / "api.log"
        self.access_log = home / "access.log"
        url_file = home / "bound"
        url_file.unlink(missing_ok=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("MEDJOBS_", "PYTHON"))}
        environment |= {f"MEDJOBS_{name.upper()}": value for name, value in settings.items()}
        environment |= {"MEDJOBS_HOME": str(home), "PYTHONPATH": f"{ROOT}:{TOYS}", "PYTHONWARNINGS": "error"}
        command = ["-P", "-m", "api", "--bind", "127.0.0.1:0", "--url-file", str(url_file)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command, "--access-log", str(self.access_log)],
                env=environment, cwd=cwd or home, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while not url_file.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the API did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)
        self.url = url_file.read_text().strip()

    def client(self, token: str, headers: Mapping[str, str] | None = None) -> httpx.Client:
        """An HTTP client with the token."""
        sent = {"Authorization": f"Bearer {token}", **(headers or {})}
        return httpx.Client(base_url=self.url, headers=sent, timeout=40)

    def memory(self) -> int:
        """Resident bytes of both processes."""
        root = psutil.Process(self.process.pid)
        return sum(one.memory_info().rss for one in [root, *root.children(recursive=True)])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """End it; the seconds that it took."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(timeout=25)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return time.monotonic() - began
