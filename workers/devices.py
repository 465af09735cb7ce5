"""Which devices this host offers, found without importing torch: a device is pinned before torch looks at any."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

CPU = "cpu"


def expand(asked: str) -> list[str]:
    """`auto`, `cpu` or `0,1` -> `["cuda:0", "cuda:1"]` or `["cpu"]`; raises ValueError for anything else.

    Numbers count among the GPUs that this process sees, as torch counts them.
    """
    text = asked.strip().lower()
    if text == "auto":
        return [f"cuda:{index}" for index in range(len(visible_gpus()))] or [CPU]
    if text == CPU:
        return [CPU]
    numbers = [part.strip().removeprefix("cuda:") for part in text.split(",")]
    if not all(number.isdecimal() for number in numbers):
        raise ValueError(f"--devices takes auto, cpu or a list such as 0,1; not {asked!r}.")
    return [f"cuda:{int(number)}" for number in dict.fromkeys(numbers)]


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES allows, else the GPUs that the NVIDIA driver lists; empty without a driver."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [name.strip() for name in allowed.split(",") if name.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return listed.stdout.split() if listed.returncode == 0 else []


def environment(devices: str, base: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process pinned to `devices` ("cuda:0,cuda:1"): it sees those GPUs and no other, or none."""
    allowed = [name.strip() for name in base.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    numbers = [int(device.removeprefix("cuda:")) for device in devices.split(",") if device != CPU]
    visible = ",".join(allowed[number] if number < len(allowed) else str(number) for number in numbers)
    return {**base, "CUDA_VISIBLE_DEVICES": visible, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def inside(devices: str) -> tuple[str, ...]:
    """The devices' names for torch in a process pinned to them: its GPUs are counted from 0."""
    count = len(devices.split(","))
    return (CPU,) if devices == CPU else tuple(f"cuda:{number}" for number in range(count))
