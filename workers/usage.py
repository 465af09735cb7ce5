"""What a worker and its device use now: for its heartbeat and its metrics. Imports no torch.

Of a GPU the driver is asked (NVML), if nvidia-ml-py is installed: torch knows its own process alone.
"""

from __future__ import annotations

import logging
import os
from typing import Any

import psutil

from workers.devices import CPU

log = logging.getLogger("medjobs.workers")


class Usage:
    """One worker's figures."""

    def __init__(self, device: str, children: bool = False) -> None:
        """`device` as its supervisor names it, and the environment pins it; `children`: their memory counts too."""
        self._process = psutil.Process()
        self._children = children
        self._process.cpu_percent()  # the first answer is 0 by its nature
        self._gpus = [] if device == CPU else _gpus()

    def now(self) -> dict[str, float]:
        """`rss` and `device_used`, `device_total` in bytes; `cpu` in processors, `device_utilisation` from 0 to 1."""
        every = [self._process, *(self._process.children() if self._children else ())]
        found: dict[str, float] = {"rss": sum(_rss(one) for one in every), "cpu": self._process.cpu_percent() / 100}
        if self._gpus:
            found |= _of_gpus(self._gpus)
        return found


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0  # a child that ended meanwhile


def _gpus() -> list[Any]:
    """NVML's handles of the GPUs that this process is pinned to (workers.devices.environment); none without NVML."""
    try:
        import pynvml

        pynvml.nvmlInit()
        names = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
        return [
            pynvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdecimal() else pynvml.nvmlDeviceGetHandleByUUID(name)
            for name in names
        ]
    except Exception as error:
        log.info("no figures of the GPU: %s", type(error).__name__)
        return []


def _of_gpus(gpus: list[Any]) -> dict[str, float]:
    """Sums of memory, and the mean of the utilisation; nothing where the driver does not answer."""
    import pynvml

    try:
        memory = [pynvml.nvmlDeviceGetMemoryInfo(gpu) for gpu in gpus]
        busy = [pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu for gpu in gpus]
    except pynvml.NVMLError:
        return {}
    return {
        "device_used": float(sum(one.used for one in memory)),
        "device_total": float(sum(one.total for one in memory)),
        "device_utilisation": sum(busy) / len(busy) / 100,
    }
