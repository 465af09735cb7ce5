"""Virtual patients as the files that leave the system, in forms that the prediction kind and the data sets read.

`json`: one file for each patient, as a prediction job takes it. `csv`: `patients.csv`, the same patients as one long
table, and `observations.csv` with `subjects.csv`, the two tables of a data set with the outcome. `npz`: the columns.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from models.data.canonical import SequenceSet, dump
from models.prediction.examples import table
from models.synthesis.export import zipped
from models.synthesis.wording import MARK


def as_patients(data: SequenceSet) -> Iterator[dict[str, Any]]:
    """Yield each patient as models/prediction/patients.py reads it: static values and measurements, no outcome."""
    starts = data.starts
    for n in range(len(data)):
        own = slice(starts[n], starts[n + 1])
        rows = zip(data.time[own].tolist(), data.variable[own].tolist(), data.value[own], strict=True)
        known = zip(data.statics, data.static[n], strict=True)
        yield {
            "static": {name: _number(value) for name, value in known if np.isfinite(value)},
            "observations": [
                {"time": round(time, 4), "name": data.variables[code], "value": _number(value)}
                for time, code, value in rows
            ],
        }


def jsons(data: SequenceSet, names: Sequence[str]) -> bytes:
    """Return a zip of `<name>.json`."""
    patients = zip(names, as_patients(data), strict=True)
    return zipped((f"{name}.json", (json.dumps(one) + "\n").encode()) for name, one in patients)


def tables(data: SequenceSet, names: Sequence[str]) -> bytes:
    """Return a zip of the three tables."""
    patients = dict(zip(names, as_patients(data), strict=True))
    observations = [(name, *measured.values()) for name, one in patients.items() for measured in one["observations"]]
    assert data.label is not None
    subjects = [
        (name, *(one["static"].get(static, "") for static in data.statics), int(label))
        for (name, one), label in zip(patients.items(), data.label, strict=True)
    ]
    files = {
        "patients.csv": table(patients),
        "observations.csv": _rows(("id", "time", "variable", "value"), observations),
        "subjects.csv": _rows(("id", *data.statics, data.outcome), subjects),
    }
    return zipped((name, text.encode()) for name, text in files.items())


def arrays(data: SequenceSet, names: Sequence[str]) -> bytes:
    """Return an npz of the columns, as models/data/canonical.py stores a set, with the names of what they hold."""
    content = dump(data)["data.npz"]
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        found: dict[str, Any] = {name: stored[name] for name in stored.files}
    found |= {"variables": np.array(data.variables), "statics": np.array(data.statics)}
    found |= {"patients": np.array(names), "note": np.array(MARK)}
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **found)
    return out.getvalue()


def _rows(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    written = csv.writer(out, lineterminator="\n")
    written.writerow(head)
    written.writerows(rows)
    return out.getvalue()


def _number(value: Any) -> float:
    """A single-precision value as the shortest decimal that means it: 36.6 and not 36.59999847."""
    return float(str(np.float32(value)))
