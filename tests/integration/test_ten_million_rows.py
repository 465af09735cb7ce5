"""Ten million rows, the most that one may send: read as a data set and as a table of patients, in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.prediction.tables import MOST_ROWS

SUBJECTS = 10_000
MOST_CPU_S, MOST_BYTES = 120.0, 4 << 30
"""The data set took 26 s of processor time and 1.8 GB, the patients 1.5 GB."""

AS_DATA_SET = """
from jobs.predicting import Source
from models.data.kind import DatasetParams
from models.data.predictor import load
decoded = load(None, "cpu").decode(Source(tuple(paths)), DatasetParams(format="sequences"))
found = {"observations": decoded.item["facts"]["observations"], "subjects": sum(decoded.item["counts"].values())}
"""

AS_PATIENTS = """
from models.prediction.splitting import split
lengths = [len(one.data["observations"].time) for one in split(paths[0])]
found = {"observations": sum(lengths), "subjects": len(lengths)}
"""

MEASURED = """
import json, resource, sys, time
from pathlib import Path
paths, began = [Path(path) for path in sys.argv[1:]], time.perf_counter()
{work}
found["seconds"] = time.perf_counter() - began
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
found["cpu_seconds"] = sum(one.ru_utime + one.ru_stime for one in used)
print(json.dumps({{**found, "bytes": max(one.ru_maxrss for one in used) << 10}}))
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Observations of 37 variables, in no order, and subjects."""
    folder, random = tmp_path_factory.mktemp("rows"), np.random.default_rng(0)
    names = pl.Series([f"variable {number}" for number in range(37)])
    columns = {
        "id": random.integers(0, SUBJECTS, MOST_ROWS, dtype=np.int32),
        "time": random.uniform(0, 48, MOST_ROWS).round(2),
        "variable": names.gather(random.integers(0, len(names), MOST_ROWS)),
        "value": random.normal(80, 10, MOST_ROWS).round(2),
    }
    pl.DataFrame(columns).write_csv(folder / "observations.csv")
    subjects = {"id": np.arange(SUBJECTS), "Age": np.arange(SUBJECTS) % 70 + 20, "outcome": np.arange(SUBJECTS) % 2}
    pl.DataFrame(subjects).write_csv(folder / "subjects.csv")
    return folder / "observations.csv", folder / "subjects.csv"


@pytest.mark.slow
@pytest.mark.parametrize("work", [AS_DATA_SET, AS_PATIENTS], ids=["data set", "patients"])
def test_ten_million_rows_are_read_whole_in_bounded_time_and_memory(tables: tuple[Path, Path], work: str) -> None:
    # In a process of its own, whose memory is nobody else's
    command = [sys.executable, "-c", MEASURED.format(work=work), *map(str, tables)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    print(found)
    assert (found["observations"], found["subjects"]) == (MOST_ROWS, SUBJECTS)
    assert found["cpu_seconds"] < MOST_CPU_S
    assert found["bytes"] < MOST_BYTES
