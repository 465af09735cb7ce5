"""The simple alternative: one process, one loop, pydicom and PyTorch, batches of 32, decoding included.

No queue, no database, no explanation, nothing kept: what a researcher writes first, and the ceiling for the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import torch


def read(path: Path, size: int) -> np.ndarray:
    """One image, (1, size, size) float32 in 0..1."""
    pixels = pydicom.dcmread(path).pixel_array
    return (pixels.astype(np.float32) / 255.0).reshape(1, size, size)


def rate(
    network: Callable[[torch.Tensor], torch.Tensor],
    paths: list[Path],
    size: int,
    *,
    batch: int = 32,
    threads: int = 1,
    bf16: bool = False,
) -> float:
    """Images per second over `paths`, from the file on disk to the probability as a Python float."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    layout = torch.channels_last if bf16 else torch.contiguous_format
    start = time.perf_counter()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        for at in range(0, len(paths), batch):
            images = torch.from_numpy(np.stack([read(path, size) for path in paths[at : at + batch]]))
            network(images.to(memory_format=layout)).float().sigmoid().tolist()
    seconds = time.perf_counter() - start
    torch.set_num_threads(before)
    return len(paths) / seconds
