"""`python -m benchmarks.screening_table`: memory of a whole screening job by its number of lines.

A job of 10,000, of 100,000 and of a million lines, each in a process of its own, as the long worker's child runs it
(workers/longtask.py, on SQLite and a local folder): the file is fetched and read, its lines go through RDKit and the
alerts, rows are collected, saved in checkpoints, ranked and written, tables are stored, the result is committed. Only
the model is a stand-in, whose answer is a number made of the SMILES: a true one would take hours and the same memory.
`--real FOLDER` takes the molecules of the sets that lie there, and analogues of them, in place of made-up ones.
With `--text` lines do not go through RDKit either: a SMILES is taken for what it says, and has no alerts.
Every 1,000th line cannot be read, every 500th has the molecule of the line before. At the end the stored table is
checked: each line once.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from benchmarks.molecules import made_up, real
from db import callers, files, jobs, reading, schema, workers
from db.engine import Database
from db.records import NewJob
from db.workers import Worker
from jobs.errors import JobError, NotAMolecule
from jobs.ids import new_id
from jobs.settings import Settings
from models.catalogue import catalogue
from models.screening import scoring, screen
from models.screening.ensemble import Answer
from models.screening.molecules import Molecule
from models.screening.outcome import OUTCOMES
from models.screening.reading import Entry
from registry.shipped import import_shipped
from storage.disk import Disk
from storage.files import Storage
from workers import longtask
from workers.work import Bound

WORKER, MODEL = "bench:0", "blood-brain-barrier"
SIZES = (10_000, 100_000, 1_000_000)


class StandIn:
    """What the runner asks of an ensemble, answered from the checksum of each SMILES."""

    targets, device, limit, outcome = ("BBBP",), "cpu", 0.5, OUTCOMES["classes"]

    def answer(self, molecules: Sequence[Molecule]) -> Answer:
        """A probability for each, (N, 1)."""
        found = self.nearest(molecules)[:, None]
        return Answer(found, found / 10)

    @property
    def domain(self) -> StandIn:
        """The same."""
        return self

    def nearest(self, molecules: Sequence[Molecule]) -> NDArray[np.float64]:
        """A similarity for each, (N,)."""
        return np.array([zlib.crc32(one.canonical.encode()) % 1_000_003 / 1_000_003 for one in molecules])


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.screening_table", description=__doc__)
    parser.add_argument("sizes", type=int, nargs="*", default=SIZES, help="lines (default %(default)s)")
    parser.add_argument(
        "--here", action="store_true", help="in this process, whose peak is shown: one size, SMILES by stdin"
    )
    parser.add_argument("--text", action="store_true", help="leave RDKit out as well")
    parser.add_argument("--real", type=Path, help="folder of the molecule sets: at most some 140,000 lines")
    parser.add_argument("--every", type=float, default=screen.EVERY_S, help="s between checkpoints (%(default)s)")
    chosen = parser.parse_args()
    if chosen.here:
        torch.set_num_threads(1)
        screen.EVERY_S = chosen.every
        if chosen.text:
            scoring.molecule = taken
            scoring.alerts.pains = cast(Any, lambda molecule: [])
            scoring.alerts.lipinski_violations = cast(Any, lambda molecule: 0)
        with tempfile.TemporaryDirectory() as folder:
            (lines,) = chosen.sizes
            whole_job(Path(folder), lines, map(str.strip, sys.stdin))
        return
    for size in chosen.sizes:
        command = ["benchmarks.screening_table", str(size), "--here", "--every", str(chosen.every)]
        command += ["--text"] * chosen.text
        molecules = islice(real(chosen.real), size) if chosen.real else made_up(size)
        subprocess.run([sys.executable, "-m", *command], input="\n".join(molecules), text=True, check=True)


def taken(entry: Entry) -> Molecule | JobError:
    """A molecule of the text alone."""
    return NotAMolecule() if entry.smiles.endswith("(") else Molecule(entry.smiles, None)


def whole_job(home: Path, lines: int, molecules: Iterable[str]) -> None:
    """One job from its file, of so many molecules, to its committed result."""
    settings = Settings(home=home)
    schema.upgrade(settings.database)
    db, storage = Database(settings.database, pool_size=4), Storage(settings.storage, home / "cache")
    import_shipped(db, storage)
    workers.register(db, Worker(WORKER, socket.gethostname(), os.getpid(), "long", "cpu"))
    owner = callers.caller_id(db, "bench")
    stored = storage.put(text(molecules), 1 << 30)
    files.add(db, owner, stored.digest, stored.size, "text/plain")
    job = NewJob(
        new_id(), owner, "screening", "long", MODEL, catalogue().resolve(MODEL).version, [stored.digest],
        [stored.digest], {"explain": False}, timeout_s=86_400.0,
    )  # fmt: skip
    jobs.insert(db, [job], max_queued=1)
    (claim,) = jobs.claim(db, [job.id], WORKER, settings.lease_long_s, "long")
    os.environ[longtask.DEVICE] = "cpu"
    screen.ensembles.load = cast(Any, lambda version, device: StandIn())
    saved: list[int] = []
    Disk.write_many = counted(Disk.write_many, saved)  # type: ignore[method-assign]
    (home / "scratch" / "attempt").mkdir(parents=True)
    stages: dict[str, int] = {}
    screen.table.rank = after(screen.table.rank, "scored", "ranked", stages)
    screen.table.write = after(screen.table.write, "ranked", "written", stages)
    began, before = time.monotonic(), peak()
    longtask._run(Bound(db, settings, claim, WORKER), home / "scratch" / "attempt")
    took, stages["stored"] = time.monotonic() - began, peak()
    result = reading.result(db, job.id)
    assert result is not None
    counts = result.result["provenance"]["counts"]
    check(storage.open_artifact(job.id, claim.fence, "table.parquet").name, lines)
    checkpoints = [size for size in saved if size]
    peaks = ", ".join(f"{size} {stage}" for stage, size in stages.items())
    print(
        f"{lines:9,d} lines: peak MiB {before} before, {peaks}; "
        f"{len(checkpoints)} checkpoints, {sum(checkpoints) / lines:.0f} bytes a line in all; "
        f"{counts['failed']} errors, {counts['copies']} copies; {took:.0f} s, {lines / took:.0f} /s",
        flush=True,
    )
    db.close()


def text(molecules: Iterable[str]) -> Iterator[bytes]:
    """The file, a line at a time."""
    before = ""
    for n, smiles in enumerate(molecules, start=1):
        one = "broken(" if n % 1000 == 0 else before if n % 500 == 0 else smiles
        yield f"{one} m{n}\n".encode()
        before = smiles


def after(call: Callable[..., Any], begin: str, end: str, stages: dict[str, int]) -> Callable[..., Any]:
    """Notes the peak before and after a call."""

    def noting(*given: Any) -> Any:
        stages[begin] = peak()
        found = call(*given)
        stages[end] = peak()
        return found

    return noting


def counted(write: Callable[..., None], saved: list[int]) -> Callable[..., None]:
    """Notes the bytes of segments and manifest of each checkpoint."""

    def counting(disk: Disk, given: dict[str, bytes | Path]) -> None:
        names = [name for name in given if "/checkpoints/" in name]
        size = sum(one.stat().st_size if isinstance(one, Path) else len(one) for one in map(given.__getitem__, names))
        if any(name.endswith("manifest.json") for name in names):
            saved[-1] += size
        elif names:
            saved.append(size)
        write(disk, given)

    return counting


def check(table: str, lines: int) -> None:
    """Every line stands in the table once; raises AssertionError."""
    found = pl.read_parquet(table, columns=["line", "rank", "error"])
    assert found["line"].sort().equals(pl.Series("line", range(1, lines + 1), dtype=pl.Int32))
    assert found["error"].drop_nulls().len() == lines // 1000 == found["rank"].null_count()
    assert found["rank"].drop_nulls().is_sorted()


def peak() -> int:
    """Peak resident memory of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
