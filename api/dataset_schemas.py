"""Bodies and answers of /v1/datasets."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from api.schemas import Answer
from jobs.datasets import DataSetState


class DatasetPath(BaseModel):
    """A data set's name."""

    name: str


class DatasetWarning(BaseModel):
    """Something that a guard noticed; the data set is usable all the same."""

    guard: str
    detail: str
    count: int


class DatasetLinks(Answer):
    """Rooted paths."""

    self: str
    job: str
    result: str


class DatasetBody(Answer):
    """A data set. `fingerprint` to `card` are null until it is `ready`; `problems` say why it is `rejected`."""

    name: str
    state: DataSetState
    format: str
    options: dict[str, Any]
    created_at: datetime
    job: UUID = Field(description="The job that reads it.")
    fingerprint: str | None = Field(description="Hash over its canonical form, whatever the order of its rows.")
    counts: dict[str, int] | None = Field(description="Cases in train, validation and test.")
    classes: dict[str, Any] | None
    facts: dict[str, Any] | None
    warnings: list[DatasetWarning]
    card: str | None = Field(description="Data card, Markdown.")
    problems: list[dict[str, Any]] = Field(description="By file, row and column where that is known.")
    links: DatasetLinks


class DatasetList(Answer):
    """The caller's data sets, newest first."""

    datasets: list[DatasetBody]
