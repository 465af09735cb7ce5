"""Memory of the device to which this process is pinned: what there is, what is taken, and how some is set free.

Everything that the inference worker asks of CUDA stands here. torch is asked only where a model has imported it.
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from workers import admission
from workers.devices import CPU

_CGROUP = Path("/sys/fs/cgroup/memory.max")
_PROFILE = re.compile(r"\.(?P<gigabytes>\d+)gb")


def limit(device: str, allowed: int) -> int | None:
    """Bytes that models may take of `device` as the worker was pinned ("cpu", "cuda:0", "MIG-..."): all that it has,
    and no more than `allowed` (0: no such bound); None where nobody tells."""
    known = [one for one in (total(device), allowed or None) if one]
    return min(known, default=None)


def total(device: str) -> int | None:
    """Bytes of the device, found without torch; of several GPUs, of the smallest."""
    if device == CPU:
        return _of_host()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if "MIG-" not in visible:
        return admission.smallest("memory.total")
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return of_slices(listed.stdout, visible)


def of_slices(text: str, visible: str) -> int | None:
    """Bytes of the smallest MIG slice named in `visible`, by its profile ("1g.10gb") in the text of `nvidia-smi -L`."""
    named = [name.strip() for name in visible.split(",") if name.strip()]
    lines = [line for line in text.splitlines() if any(f"UUID: {name})" in line for name in named)]
    found = [match for match in map(_PROFILE.search, lines) if match]
    return min((int(match["gigabytes"]) * 10**9 for match in found), default=None)


def _of_host() -> int:
    """The host's memory, or what the container may take of it."""
    there = int(psutil.virtual_memory().total)
    try:
        return min(there, int(_CGROUP.read_text()))
    except (OSError, ValueError):  # "max": no bound
        return there


class Gauge:
    """Looks at the memory that this process takes of its device.

    On a GPU it is what torch has allocated there; on the processor the resident memory, which other threads of the
    process change too: an estimate.
    """

    def __init__(self, device: str) -> None:
        """`device` as torch names it in this process."""
        self._device = device
        self._process = psutil.Process()

    def taken(self) -> int:
        """Bytes now."""
        if self._device == CPU:
            return int(self._process.memory_info().rss)
        cuda = self._cuda()
        return int(cuda.memory_allocated(self._device)) if cuda else 0

    def start(self) -> int:
        """Bytes now; from here on the peak is counted."""
        cuda = self._cuda()
        if cuda:
            cuda.reset_peak_memory_stats(self._device)
        return self.taken()

    def grown(self, before: int) -> int:
        """How many bytes more than `before` there were at the peak since `start` (on the processor: there are now)."""
        cuda = self._cuda()
        peak = int(cuda.max_memory_allocated(self._device)) if cuda else self.taken()
        return max(0, peak - before)

    def free(self) -> None:
        """Give back what is held and not used: Python's garbage, and torch's cache on the device."""
        gc.collect()
        cuda = self._cuda()
        if cuda:
            cuda.empty_cache()
        elif sys.platform == "linux":
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc keeps freed memory for itself; musl has none
            if trim is not None:
                trim(0)

    def _cuda(self) -> Any:
        """torch.cuda, where this process is on a GPU and has used it. While another thread still imports torch, the
        module is there and half of what it holds is not."""
        cuda = getattr(sys.modules.get("torch"), "cuda", None) if self._device != CPU else None
        used = getattr(cuda, "is_initialized", None)
        return cuda if used is not None and used() else None
