"""`python -m benchmarks.screening_table LINES`: memory and time of a screening's table alone, by number of lines.

Rows as a screening makes them, without the model: collected, ranked, written. Run it once per size: the peak is the
process's.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from models.screening import table
from models.screening.screen import CHUNK


def main() -> None:
    """Print the peak after each stage, and bytes a line of each file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.screening_table", description=__doc__)
    parser.add_argument("lines", type=int, nargs="?", default=1_000_000)
    lines = parser.parse_args().lines
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        began, rows = time.monotonic(), table.Rows(Path(name))
        for start in range(0, lines, CHUNK):
            rows.add(frame(start, random.random(min(CHUNK, lines - start))))
        rows.flush()
        stages = [("collected", peak())]
        ranking = table.rank(rows, ["active"], True, Path(name))
        stages.append(("ranked", peak()))
        parquet, csv = table.write(rows, ranking, Path(name))
        stages.append(("written", peak()))
        packed = sum(path.stat().st_size for path in rows.files)
        sizes = {"rows": packed, "parquet": parquet.stat().st_size, "csv": csv.stat().st_size}
    shown = ", ".join(f"{stage} {mebi} MiB" for stage, mebi in stages)
    each = ", ".join(f"{what} {size / lines:.0f}" for what, size in sizes.items())
    print(f"{lines} lines: peak {shown}; bytes a line: {each}; {time.monotonic() - began:.0f} s")


def frame(start: int, p: np.ndarray[tuple[int], np.dtype[np.float64]]) -> pl.DataFrame:
    """Rows of different molecules with probabilities (N,)."""
    count = len(p)
    smiles = [f"FC(F)(F)CN{'C' * (n % 16)}c1ccc2[nH]ccc2c1CC{n}" for n in range(start, start + count)]
    return pl.DataFrame(
        {
            "input": pl.Series([0] * count, dtype=pl.Int32),
            "line": pl.Series(range(start + 1, start + count + 1), dtype=pl.Int32),
            "name": [f"m{n}" for n in range(start, start + count)],
            "given": smiles,
            "smiles": smiles,
            "salts_stripped": [False] * count,
            "error": pl.Series([None] * count, dtype=pl.String),
            "p active": p.round(6),
            "spread active": (p / 9).round(6),
            "nearest_tanimoto": (p / 2).round(4),
            "in_domain": p > 0.5,
            "pains": [""] * count,
            "lipinski_violations": pl.Series([0] * count, dtype=pl.Int8),
        }
    )


def peak() -> int:
    """Peak resident memory of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
