"""The runner of the screening kind: every line of every input scored chunk by chunk, then ranked and drawn.

What was scored is kept in checkpoints, so that a job whose worker died goes on after the last of them.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import rdkit
import torch

from jobs.errors import AllItemsFailed, InputError, LimitExceeded, ModelUnusable
from jobs.predicting import ModelVersion, NewArtifact
from jobs.running import Finished, Stop, Work
from models.screening import columns, explaining, reading, table
from models.screening import ensemble as ensembles
from models.screening.ensemble import Ensemble
from models.screening.kind import MOST_LINES, ScreeningParams
from models.screening.molecules import from_smiles
from models.screening.reading import Entry
from models.screening.scoring import Placed, scored
from models.screening.table import Rows

CHUNK = 512
"""Lines scored together."""

EVERY_S, SHARE = 5.0, 0.05
"""Least seconds between two checkpoints, and the most of the time that they may take."""

MOST_ERRORS = 100
"""Lines named in the result that could not be read; the table has all of them."""

VERSION = 2
"""Of what a checkpoint holds."""


def run(work: Work) -> Finished:
    """Screen all inputs. Raises `Stop`, `AllItemsFailed`, `LimitExceeded` and what loading the model raises."""
    params = work.params
    assert isinstance(params, ScreeningParams)
    if work.model is None:
        raise ModelUnusable("Screening needs a model.")
    ensemble = _loaded(work.model, work.device)
    ranked_by = _ranked_by(params, ensemble)
    screening = Screening(work, params, ensemble)
    screening.run()
    rows = screening.rows
    if screening.failed == rows.count:
        first = screening.errors[0]["error"]["detail"] if screening.errors else "There is no line."
        raise AllItemsFailed(f"No line has a score: {_summary(screening.codes)} The first: {first}")
    work.progress(1.0, "ranking", f"{rows.count} lines")
    names = [columns.name(ensemble, one) for one in ranked_by]
    with closing(table.rank(rows, names, params.order == "highest", work.folder)) as ranking:
        work.progress(1.0, "writing", f"{rows.count} lines")
        parquet, csv = table.write(rows, ranking, work.folder)
        best = table.top(rows, ranking, params.top)
    work.step()
    items, pictures = _items(work, params, ensemble, best, ranked_by)
    artifacts = (
        NewArtifact("table.csv", "text/csv", csv),
        NewArtifact("table.parquet", "application/vnd.apache.parquet", parquet),
        *pictures,
    )
    counts = {"lines": rows.count, "molecules": ranking.molecules, "copies": ranking.copies}
    facts = {"counts": {**counts, "failed": screening.failed, "errors": dict(sorted(screening.codes.items()))}}
    return Finished(
        [*items, *screening.errors], artifacts, {**_provenance(ensemble), **facts}, None, screening.warnings
    )


class Screening:
    """The scoring of one job: `rows` so far, and what failed."""

    def __init__(self, work: Work, params: ScreeningParams, ensemble: Ensemble) -> None:
        """Takes up the newest checkpoint."""
        self.work, self.params, self.ensemble = work, params, ensemble
        self.rows = Rows(work.folder)
        self.codes: Counter[str] = Counter()
        self.errors: list[dict[str, Any]] = []
        self._saved_at, self._pause_s = time.monotonic(), EVERY_S
        found = work.checkpoints.newest()
        if found is not None and found[1].get("version") == VERSION:
            _, said = found
            self.rows.restore(work.checkpoints.segments(work.folder), said["rows"])
            self.codes, self.errors = Counter(said["codes"]), said["errors"]
            work.log(f"goes on after line {self.rows.count}, from a checkpoint")

    @property
    def failed(self) -> int:
        """Lines without a score."""
        return sum(self.codes.values())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the result must name."""
        if not self.failed:
            return ()
        return (f"{self.failed} of {self.rows.count} lines have no score: {_summary(self.codes)}",)

    def run(self) -> None:
        """Score what is left; `Stop` passes through, with a checkpoint made first."""
        total = sum(reading.count(source.files[0]) if source.files else 1 for source in self.work.sources)
        # Each file may have a header; what is far too long is refused before hours are spent on it.
        if total > MOST_LINES + len(self.work.sources):
            raise _too_long()
        began, first = time.monotonic(), self.rows.count
        left = itertools.islice(self._placed(), first, None)
        try:
            while chunk := list(itertools.islice(left, CHUNK)):
                if self.rows.count + len(chunk) > MOST_LINES:
                    raise _too_long()
                self._score(chunk)
                rate = (self.rows.count - first) / max(time.monotonic() - began, 1e-9)
                said = f"{self.rows.count} of about {max(total, self.rows.count)} lines, {rate:.0f} a second"
                self.work.progress(min(1.0, self.rows.count / max(total, 1)), "screening", said)
                if time.monotonic() - self._saved_at >= self._pause_s:
                    self._save()
        except Stop:
            self._save()
            raise
        self.rows.flush()

    def _score(self, chunk: list[Placed]) -> None:
        frame, errors = scored(chunk, self.ensemble, self.work.step)
        self.rows.add(frame)
        if not errors:
            return
        self.codes.update(error.code for error in errors)
        places = frame["error"].is_not_null().arg_true().to_list()
        room = MOST_ERRORS - len(self.errors)
        for place, error in list(zip(places, errors, strict=True))[:room]:
            shape = error.as_dict(item=chunk[place].input)
            self.errors.append({"error": {**shape, "line": chunk[place].entry.line}})

    def _placed(self) -> Iterator[Placed]:
        """Every entry of every input, in order; where a file cannot be read on, an error in its place."""
        for number, source in enumerate(self.work.sources):
            if not source.files:
                yield Placed(number, _inline(source.data))
                continue
            line = 0
            try:
                for entry in reading.entries(source.files[0], self.params):
                    line = entry.line
                    yield Placed(number, entry)
            except InputError as error:
                yield Placed(number, Entry(line + 1, error=error.kept()))

    def _save(self) -> None:
        """Everything scored so far. The pause grows with what a checkpoint costs."""
        began = time.monotonic()
        self.rows.flush()
        said = {"version": VERSION, "rows": self.rows.count, "codes": dict(self.codes), "errors": self.errors}
        self.work.checkpoints.save({}, said, self.rows.files)
        self._saved_at = time.monotonic()
        self._pause_s = max(EVERY_S, (self._saved_at - began) / SHARE)


def _inline(data: Any) -> Entry:
    smiles = data.get("smiles") if isinstance(data, Mapping) else None
    return Entry(1, smiles) if isinstance(smiles, str) else Entry(1, error=InputError("The input has no `smiles`."))


def _loaded(version: ModelVersion, device: str) -> Ensemble:
    """The version, kept for the next job of this process."""
    key = (version.name, version.version, version.weights_sha256, device)
    if key not in _KEPT:
        _KEPT.clear()
        _KEPT[key] = ensembles.load(version, device)
    return _KEPT[key]


_KEPT: dict[tuple[Any, ...], Ensemble] = {}
"""The one version that this process used last."""


def _ranked_by(params: ScreeningParams, ensemble: Ensemble) -> tuple[str, ...]:
    """The targets whose mean probability ranks, or the one whose number does; raises `InputError`."""
    if params.target is None and ensemble.outcome.name == "numbers" and len(ensemble.targets) > 1:
        raise InputError(f"Numbers of several targets have no mean; params.target takes {', '.join(ensemble.targets)}.")
    if params.target is None:
        return ensemble.targets
    if params.target not in ensemble.targets:
        raise InputError(f"params.target is none of this model's targets: {', '.join(ensemble.targets)}.")
    return (params.target,)


def _items(
    work: Work, params: ScreeningParams, ensemble: Ensemble, best: pl.DataFrame, ranked_by: tuple[str, ...]
) -> tuple[list[dict[str, Any]], list[NewArtifact]]:
    """The entries of the best molecules, the first of them explained and drawn."""
    items, pictures = [], []
    column = ensemble.targets.index(ranked_by[0]) if len(ranked_by) == 1 else None
    for place, row in enumerate(best.iter_rows(named=True)):
        item = _item(row, ensemble)
        if params.explain and place < params.pictures:
            work.step()
            work.progress(1.0, "explaining", f"{place + 1} of {min(params.pictures, len(best))} molecules")
            molecule = from_smiles(row["smiles"])
            weights = explaining.atom_weights(ensemble, molecule, column)
            item["atom_weights"] = [round(float(weight), 4) for weight in weights]
            picture = explaining.drawn(molecule, weights, f"{row['rank']}: {columns.words(ensemble, row, ranked_by)}")
            pictures.append(NewArtifact(f"molecule-{row['rank']:03d}.svg", "image/svg+xml", picture, place))
        items.append(item)
    return items, pictures


def _item(row: Mapping[str, Any], ensemble: Ensemble) -> dict[str, Any]:
    return {
        **{name: row[name] for name in ("rank", "smiles", "name", "input", "line")},
        "scores": columns.scores(ensemble, row),
        "applicability": {name: row[name] for name in ("nearest_tanimoto", "in_domain")},
        "alerts": {
            "pains": [one for one in row["pains"].split(";") if one],
            "lipinski_violations": row["lipinski_violations"],
        },
        "salts_stripped": row["salts_stripped"],
        "copies": row["copies"],
        "atom_weights": None,
    }


def _too_long() -> LimitExceeded:
    return LimitExceeded(f"A job may screen {MOST_LINES} lines; split the file.", limit="lines")


def _summary(codes: Mapping[str, int]) -> str:
    return ", ".join(f"{code} {count}" for code, count in sorted(codes.items())) + "."


def _provenance(ensemble: Ensemble) -> dict[str, Any]:
    """What shaped the numbers."""
    return {
        "precision": "float32",
        "threads": torch.get_num_threads(),
        "instruction_set": torch.backends.cpu.get_cpu_capability() if ensemble.device == "cpu" else None,
        "libraries": {
            "torch": torch.__version__,
            "numpy": np.__version__,
            "rdkit": rdkit.__version__,
            "lightgbm": lightgbm.__version__,
        },
    }
