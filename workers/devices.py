"""Which devices this host offers, found without importing torch: a device is pinned before torch looks at any.

A device is `cpu`, a GPU by number (`cuda:0`), or a GPU or a MIG slice of one by UUID (`GPU-...`, `MIG-...`).
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from typing import NamedTuple

CPU = "cpu"

MOST_PROCESSES = 64
"""`cpu:N` may ask for so many: more is a slip of the finger."""

_GPU_LINE = re.compile(r"GPU (?P<number>\d+): .*\(UUID: (?P<uuid>GPU-[^)]+)\)")
_MIG_LINE = re.compile(r"\s+MIG .*\(UUID: (?P<uuid>MIG-[^)]+)\)")
_UUID = re.compile(r"(GPU|MIG)-[0-9A-Za-z][0-9A-Za-z/-]*")


class Gpu(NamedTuple):
    """A GPU as `nvidia-smi -L` lists it, with the UUIDs of the MIG slices that it is cut into."""

    number: int
    uuid: str
    slices: tuple[str, ...] = ()


def expand(asked: str) -> list[str]:
    """One entry per worker process: `auto` -> every visible GPU or MIG slice, else `["cpu"]`; `cpu:3` -> three times
    `cpu`; `0,MIG-1f2e` -> `["cuda:0", "MIG-1f2e"]`; raises ValueError for anything else.

    Numbers count among the GPUs that this process sees, as torch counts them.
    """
    if asked.strip().lower() == "auto":
        return _visible() or [CPU]
    found, allowed = _named(asked), os.environ.get("CUDA_VISIBLE_DEVICES")
    numbers = [int(device.removeprefix("cuda:")) for device in found if device.startswith("cuda:")]
    if allowed is not None and numbers and max(numbers) >= len(_listed(allowed)):
        counted = f"--devices counts from 0 the GPUs that CUDA_VISIBLE_DEVICES names ({allowed!r})"
        raise ValueError(f"{counted}; there is no number {max(numbers)}.")
    return [device for device, count in found.items() for _ in range(count)]


def _named(asked: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in (part.strip() for part in asked.split(",")):
        lower = part.lower()
        number, processes = lower.removeprefix("cuda:"), lower.removeprefix("cpu:")
        if lower == CPU or (lower.startswith("cpu:") and processes.isdecimal()):
            found[CPU] = found.get(CPU, 0) + (1 if lower == CPU else int(processes))
        elif number.isdecimal():
            found[f"cuda:{int(number)}"] = 1
        elif _UUID.fullmatch(part):
            found[part] = 1
        else:
            raise ValueError(_refusal(asked))
    if not 0 < found.get(CPU, 1) <= MOST_PROCESSES:
        raise ValueError(_refusal(asked))
    return found


def _refusal(asked: str) -> str:
    return (
        f"--devices takes auto, cpu or a list such as 0,1 of GPU numbers, UUIDs (GPU-..., MIG-...) and "
        f"cpu:N (1 to {MOST_PROCESSES} processes); not {asked!r}."
    )


def _visible() -> list[str]:
    """What CUDA_VISIBLE_DEVICES allows, else what the NVIDIA driver lists; empty without a driver."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [f"cuda:{number}" for number, _ in enumerate(_listed(allowed))]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    gpus = parse(listed.stdout) if listed.returncode == 0 else []
    return [device for gpu in gpus for device in (gpu.slices or (f"cuda:{gpu.number}",))]


def parse(text: str) -> list[Gpu]:
    """The GPUs in the output of `nvidia-smi -L`. A slice stands indented below its GPU."""
    found: list[Gpu] = []
    for line in text.splitlines():
        if gpu := _GPU_LINE.match(line):
            found.append(Gpu(int(gpu["number"]), gpu["uuid"]))
        elif found and (part := _MIG_LINE.match(line)):
            found[-1] = found[-1]._replace(slices=(*found[-1].slices, part["uuid"]))
    return found


def _listed(allowed: str) -> list[str]:
    return [name.strip() for name in allowed.split(",") if name.strip() not in ("", "-1")]


def grouped(devices: list[str]) -> list[str]:
    """The devices of each long worker: one holds all whole GPUs, for a training that shares its batches among them.
    MIG slices cannot be shared, nor used beside a whole GPU: a process of CUDA sees one slice and nothing else (MIG
    User Guide, "CUDA Device Enumeration"). Those of the processor hold nothing that could be shared."""
    alone = [device for device in devices if device == CPU or device.startswith("MIG-")]
    whole = [device for device in devices if device not in alone]
    return [",".join(whole)] * bool(whole) + alone


def environment(devices: str, base: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process pinned to `devices` ("cuda:0,cuda:1"): it sees those and no other GPU, or none."""
    allowed = _listed(base.get("CUDA_VISIBLE_DEVICES", ""))

    def seen(device: str) -> str:
        if not device.startswith("cuda:"):
            return device
        number = int(device.removeprefix("cuda:"))
        return allowed[number] if number < len(allowed) else str(number)

    visible = ",".join(seen(device) for device in devices.split(",") if device != CPU)
    return {**base, "CUDA_VISIBLE_DEVICES": visible, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def inside(devices: str) -> tuple[str, ...]:
    """The devices' names for torch in a process pinned to them: its GPUs are counted from 0."""
    count = len(devices.split(","))
    return (CPU,) if devices == CPU else tuple(f"cuda:{number}" for number in range(count))
