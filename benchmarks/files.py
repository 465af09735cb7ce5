"""The DICOM files that both sides of the benchmark read: uncompressed, 8 bit, each of different bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imaging.writing import secondary_capture


def make(folder: Path, count: int, size: int, seed: int = 0) -> list[Path]:
    """Write `count` images of `size` x `size` smooth noise as DICOM; the paths, in order."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        coarse = random.random((7, 7))
        grid = np.linspace(0, 6, size)
        rows = np.array([np.interp(grid, range(7), row) for row in coarse])
        smooth = np.array([np.interp(grid, range(7), column) for column in rows.T]).T
        pixels = (smooth * 255).astype(np.uint8)
        path = folder / f"{size}-{number:05}.dcm"
        path.write_bytes(
            secondary_capture(
                pixels,
                series_description="SYNTHETIC noise",
                derivation_description="Smooth noise, made for a benchmark",
                patient_id="SYNTHETIC",
                modality="CR",
            )
        )
        paths.append(path)
    return paths
