"""A chunk of entries to rows of the table: each read, scored and looked at, or an error in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from jobs.errors import InputError, JobError
from models.screening import alerts, columns
from models.screening.ensemble import Answer, Ensemble
from models.screening.molecules import Molecule, from_block, from_smiles
from models.screening.reading import Entry

SLICE = 128
"""Molecules scored between two looks at whether the job is to stop."""

MOST_NAME, MOST_GIVEN = 200, 2000
"""Letters of a name, and of a SMILES as it was given, that the table repeats."""


class Placed(NamedTuple):
    """An entry, and the position of the job's input that holds it."""

    input: int
    entry: Entry


def scored(
    placed: Sequence[Placed], ensemble: Ensemble, step: Callable[[], None]
) -> tuple[pl.DataFrame, list[JobError]]:
    """One row per entry, in order, and the errors among them, in order."""
    read = [molecule(one.entry) for one in placed]
    good = {place: found for place, found in enumerate(read) if isinstance(found, Molecule)}
    unique = list({one.canonical: one for one in good.values()}.values())
    pieces = []
    for start in range(0, len(unique), SLICE):
        step()
        pieces.append(_answers(unique[start : start + SLICE], ensemble))
    known = _known(placed, read)
    answers = pl.concat(pieces) if pieces else _answers([], ensemble)
    frame = known.join(answers, on="smiles", how="left", maintain_order="left")
    return frame, [found for found in read if isinstance(found, JobError)]


def molecule(entry: Entry) -> Molecule | JobError:
    """The molecule of an entry, or why there is none."""
    if entry.error is not None:
        return entry.error
    try:
        return from_block(entry.block) if entry.block is not None else from_smiles(entry.smiles)
    except InputError as error:
        return error.kept()


def _known(placed: Sequence[Placed], read: Sequence[Molecule | JobError]) -> pl.DataFrame:
    """What is known without the model."""
    whole = [one if isinstance(one, Molecule) else None for one in read]
    return pl.DataFrame(
        {
            "input": pl.Series([one.input for one in placed], dtype=pl.Int32),
            "line": pl.Series([one.entry.line for one in placed], dtype=pl.Int32),
            "name": pl.Series([one.entry.name[:MOST_NAME] or None for one in placed], dtype=pl.String),
            "given": pl.Series([one.entry.smiles[:MOST_GIVEN] or None for one in placed], dtype=pl.String),
            "smiles": pl.Series([one and one.canonical for one in whole], dtype=pl.String),
            "salts_stripped": pl.Series([one and one.stripped for one in whole], dtype=pl.Boolean),
            "error": pl.Series([one.code if isinstance(one, JobError) else None for one in read], dtype=pl.String),
        }
    )


def _answers(molecules: Sequence[Molecule], ensemble: Ensemble) -> pl.DataFrame:
    """What the model and RDKit say of molecules, by canonical SMILES."""
    nothing = np.empty((0, len(ensemble.targets)))
    answer, near = Answer(nothing, nothing), np.empty(0)
    if molecules:
        answer, near = ensemble.answer(molecules), ensemble.domain.nearest(molecules)
    found: dict[str, pl.Series] = {"smiles": pl.Series([one.canonical for one in molecules], dtype=pl.String)}
    found |= columns.filled(ensemble, answer)
    found["nearest_tanimoto"] = pl.Series(near.round(4), dtype=pl.Float64)
    found["in_domain"] = pl.Series(near >= ensemble.domain.limit, dtype=pl.Boolean)
    found["pains"] = pl.Series([";".join(alerts.pains(one)) for one in molecules], dtype=pl.String)
    found["lipinski_violations"] = pl.Series([alerts.lipinski_violations(one) for one in molecules], dtype=pl.Int8)
    return pl.DataFrame(found)
