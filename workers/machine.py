"""What a result's provenance says of the machine: device, processor, threads, libraries. Imports no torch."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from workers.devices import CPU


def facts(said: Mapping[str, Any]) -> dict[str, Any]:
    """`said` by the kind's own code, completed: what it says stands, whatever is found here.

    torch is asked where the kind names it among its `libraries`, or names none at all and this process has it loaded:
    which other models a worker happens to hold must not change what a result says of itself.
    """
    device = str(said.get("device", CPU))
    named = said.get("libraries")
    torch = sys.modules.get("torch") if named is None or "torch" in named else None
    found = {"device": device, "device_name": processor(), "instruction_set": None, "threads": None}
    libraries = {"numpy": version("numpy")}
    if torch is not None:
        found |= _of_torch(torch, device)
        libraries["torch"] = str(torch.__version__)
    return {**found, **said, "libraries": {**libraries, **(named or {})}}


@cache
def processor() -> str:
    """The processor's name as its maker gives it; its architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), "") or platform.processor() or platform.machine()


def _of_torch(torch: Any, device: str) -> dict[str, Any]:
    """The instruction set is of use on the CPU alone: there it decides the order in which numbers are added."""
    found: dict[str, Any] = {"threads": torch.get_num_threads()}
    if device == CPU:
        found["instruction_set"] = torch.backends.cpu.get_cpu_capability()
    elif torch.cuda.is_available():
        found["device_name"] = torch.cuda.get_device_name(device)
    return found
