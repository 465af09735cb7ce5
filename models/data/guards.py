"""The guards that every data set passes: they warn and never change it. What they cannot find is not proven absent."""

from __future__ import annotations

from models.data import duplicates, leaks, shortcuts
from models.data.canonical import AnySet, MoleculeSet, SequenceSet
from models.data.options import BinaryOutcome, Options, SequencesOptions
from models.data.problems import Notes


def run(cases: AnySet, options: Options, notes: Notes) -> None:
    """Look for copies, leaks and shortcuts, and tell `notes`. Rows must stand in the order that the reader gave."""
    duplicates.find(cases, notes)
    if isinstance(cases, SequenceSet):
        leaks.find(cases, outcome_columns(cases, options), notes)
    if not isinstance(cases, MoleculeSet):
        shortcuts.find(cases, notes)


def outcome_columns(cases: SequenceSet, options: Options) -> frozenset[str]:
    """The columns that the outcome is made of."""
    if not isinstance(options, SequencesOptions):
        return frozenset({cases.outcome})
    outcome = options.outcome
    return frozenset({outcome.column} if isinstance(outcome, BinaryOutcome) else {outcome.duration, outcome.event})
