"""Whether a GPU has room for a training beside the models that inference workers hold on it. Imports no torch."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable

MIB = 1 << 20


def free_bytes() -> int | None:
    """Free memory of the fullest GPU that this process sees; None where there is none, or the driver does not tell.

    A driver that does not tell (it answers "[N/A]" for a GPU that shares its memory with the processor) lets every
    training in.
    """
    return smallest("memory.free")


def smallest(field: str) -> int | None:
    """A field of nvidia-smi in bytes, of the GPU among those that this process sees that has the least of it."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if not visible:
        return None
    try:
        listed = subprocess.run(
            ["nvidia-smi", f"--query-gpu=index,uuid,{field}", "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=20,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse(listed.stdout, visible.split(",")) if listed.returncode == 0 else None


def parse(text: str, visible: Iterable[str]) -> int | None:
    """The least memory, in bytes, of the GPUs named in `visible` by index or UUID, from nvidia-smi's lines of
    index, UUID and MiB; None where no such line holds a number."""
    wanted = tuple(name.strip() for name in visible if name.strip())
    free = []
    for line in text.splitlines():
        told = [part.strip() for part in line.split(",")]
        if len(told) != 3:
            continue  # words about a GPU that does not answer
        index, uuid, mebibytes = told
        named = index in wanted or any(name.startswith("GPU-") and uuid.startswith(name) for name in wanted)
        if named and mebibytes.isdecimal():
            free.append(int(mebibytes) * MIB)
    return min(free, default=None)
