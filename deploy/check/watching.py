"""Starts the services in their order, asks their healthchecks, looks inside, stops them, and says how it went."""

from __future__ import annotations

import re
import signal
import time
from dataclasses import dataclass

from deploy.check.compartment import Running
from deploy.check.composed import Service
from deploy.check.scene import ENTRYPOINTS, Scene

PAUSE_S = 2.0
NOT_HERE = "no: neither Debian nor a registry of packages has it"

LOOKS = {
    "root is read-only": "touch /probe 2>&1 | grep -q Read-only",
    "no capability": "grep -q 'CapEff:.0*$' /proc/self/status && grep -q 'CapBnd:.0*$' /proc/self/status",
    "no new privileges": "grep -q 'NoNewPrivs:.1' /proc/self/status",
    "not root": 'test "$(id -u)" != 0',
}
"""What has to hold in every container."""

JOB = """
export MEDJOBS_URL=http://127.0.0.1:8000
MEDJOBS_TOKEN="$(medjobs token create check --scope admin)" && export MEDJOBS_TOKEN
medjobs submit --wait --json "$(python -c 'import medjobs; print(medjobs.__path__[0])')/examples/chest-01.dcm"
"""
"""One example image, from the API's container to a worker and back."""


@dataclass
class Part:
    """One container, and how it went."""

    service: Service
    running: Running | None = None
    started_at: float = 0.0
    took_s: float | None = None
    """From its start to its first passed healthcheck, or to its end where it runs once."""

    failed: str = ""
    stopped: str = ""


class Watch:
    """All containers of one check."""

    def __init__(self, scene: Scene, found: list[Service]) -> None:
        self._scene = scene
        self.parts = [Part(one) for one in found]
        self.wrong: list[str] = []
        self.job = "not submitted"

    def until_healthy(self, limit_s: float) -> None:
        """Until everyone is healthy or has failed, or the time is over."""
        deadline = time.monotonic() + limit_s
        while any(part.took_s is None and not part.failed for part in self.parts) and time.monotonic() < deadline:
            for part in self.parts:
                if part.running is None and any(one.failed for one in self._needed(part)):
                    part.failed = "waits for one that failed"
                elif part.running is None and self._may_start(part):
                    part.running, part.started_at = self._scene.start(part.service), time.monotonic()
                    print(f"started {part.service.name}", flush=True)
                elif part.running is not None and part.took_s is None and not part.failed:
                    self._ask(part, part.running)
            time.sleep(PAUSE_S)

    def _may_start(self, part: Part) -> bool:
        return all(one.took_s is not None for one in self._needed(part))

    def _needed(self, part: Part) -> list[Part]:
        return [one for one in self.parts if one.service.service in part.service.needs]

    def _ask(self, part: Part, running: Running) -> None:
        ended = running.process.poll()
        if part.service.once:
            healthy = ended == 0
        elif ended is None:
            healthy = running.run(part.service.test, 30.0).returncode == 0
        else:
            healthy = False
        if healthy:
            part.took_s = time.monotonic() - part.started_at
            print(f"{part.service.name}: healthy after {part.took_s:.1f} s", flush=True)
        elif ended is not None:
            part.failed = f"ended with {ended}"

    def look_inside(self) -> None:
        """The guards, in every container that runs; what Prometheus sees."""
        for part in self.parts:
            if part.running is not None and part.running.process.poll() is None:
                for name, command in LOOKS.items():
                    if part.running.run(["/bin/sh", "-c", command]).returncode != 0:
                        self.wrong.append(f"{part.service.name}: {name} does not hold")

    def run_a_job(self) -> None:
        """Submit an image where the API is healthy, and wait for its findings."""
        for part in self.parts:
            if part.service.name == "api" and part.running is not None and part.took_s is not None:
                done = part.running.run(["/bin/sh", "-ec", JOB], 180.0)
                self.job = "done" if done.returncode == 0 else f"failed: {(done.stderr or done.stdout)[-500:]}"

    def stop(self) -> None:
        """Each by its own signal, in the reverse order, within its grace."""
        for part in reversed(self.parts):
            if part.running is not None and not part.service.once:
                print(f"stopping {part.service.name}", flush=True)
                number = signal.Signals[part.service.raw.get("stop_signal", "SIGTERM")]
                grace = float(re.sub(r"s$", "", str(part.service.raw.get("stop_grace_period", "10s"))))
                began = time.monotonic()
                in_time = part.running.stop(number, grace)
                part.stopped = f"{time.monotonic() - began:.1f}" if in_time else f"killed after {grace:.0f}"

    def say(self, absent: list[Service]) -> int:
        """The table; 1 where anything is wrong."""
        print(f"\n{'service':<18}{'started':<9}{'healthy':<20}{'seconds':>8}  stopped in s")
        for part in self.parts:
            once = "done" if part.service.once else "yes"
            healthy = once if part.took_s is not None else (part.failed or "no")
            seconds = "" if part.took_s is None else f"{part.took_s:.1f}"
            started = "yes" if part.running is not None else "no"
            print(f"{part.service.name:<18}{started:<9}{healthy:<20}{seconds:>8}  {part.stopped}")
        for service in absent:
            print(f"{service.name:<18}{NOT_HERE}")
        bad = [part for part in self.parts if part.took_s is None or part.stopped.startswith("killed")]
        for line in self.wrong:
            print(line)
        for part in bad:
            log = self._scene.work / "logs" / f"{part.service.name}.log"
            tail = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []
            print(f"\n--- {part.service.name}\n" + "\n".join(tail))
        looked = len(LOOKS) * sum(part.running is not None and not part.service.once for part in self.parts)
        print(f"\n{looked - len(self.wrong)} of {looked} guards hold: {', '.join(LOOKS)}.")
        print(f"A job through the API and a worker: {self.job}.")
        print(f"Debian's packages stand for {', '.join(ENTRYPOINTS)}. No GPU was reserved and no limit was enforced.")
        return 1 if bad or self.wrong or self.job != "done" else 0
