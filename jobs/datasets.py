"""A data set as its caller sees it: one job of the kind `dataset` reads it, and that job's result is all there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from jobs.states import State

KIND = "dataset"
"""Name of the kind whose jobs read data sets."""


class DataSetState(StrEnum):
    """Derived from the job's state and never stored, so that a data set cannot be half registered."""

    VALIDATING = "validating"
    READY = "ready"
    REJECTED = "rejected"


def state_of(job: State) -> DataSetState:
    """The data set's state, by the state of its job."""
    if job is State.SUCCEEDED:
        return DataSetState.READY
    return DataSetState.REJECTED if job in (State.FAILED, State.CANCELLED) else DataSetState.VALIDATING


@dataclass(frozen=True)
class DataSet:
    """A ready data set on disk: `folder` holds the files of its canonical form, `facts` is its result's item."""

    name: str
    fingerprint: str
    format: str
    folder: Path
    facts: Mapping[str, Any]
