"""A real Prometheus on loopback that scrapes what a test started (Debian's package `prometheus`)."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from medjobs.stack.ports import free_port


class NoPrometheus(Exception):
    """It is not installed here."""


def tool(name: str) -> str:
    """The path of `prometheus` or `promtool`."""
    found = shutil.which(name)
    if found is None:
        raise NoPrometheus(f"{name} is not installed; Debian's package is `prometheus`")
    return found


class Prometheus:
    """Scrapes every second."""

    def __init__(self, folder: Path, targets: Mapping[str, str], rules: Path) -> None:
        """`targets`: name of the scrape job -> host:port."""
        folder.mkdir()
        jobs = [{"job_name": name, "static_configs": [{"targets": [place]}]} for name, place in targets.items()]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(rules)],
            "scrape_configs": jobs,
        }  # fmt: skip
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        port = free_port()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=10)
        command = [
            tool("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ]  # fmt: skip
        self.log = folder / "prometheus.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer; fails where the query does."""
        answer = self.http.get(path, params=parameters).json()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    def query(self, expression: str) -> list[Any]:
        """The series that an expression gives now."""
        return list(self.ask("/query", query=expression)["result"])

    def until(self, expression: str, series: int, seconds: float = 60) -> None:
        """Wait until an expression gives so many series."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = self.query(expression)
                if len(found) >= series:
                    return
            except (httpx.TransportError, ValueError):  # it starts: nobody listens, then 503 in plain text
                found = []
            assert time.monotonic() < deadline, (expression, found, self.log.read_text()[-2000:])
            time.sleep(0.2)

    def stop(self) -> None:
        """End it."""
        self.http.close()
        self._process.terminate()
        self._process.wait(20)
