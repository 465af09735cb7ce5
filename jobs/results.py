"""The common part of every result, and what a report is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

DISCLAIMER = "Research use only, not a medical device."
"""Stands on every result, report and overlay."""


class ModelRef(BaseModel):
    """A pinned model version."""

    name: str
    version: int


class ArtifactRef(BaseModel):
    """A file that the job made, as the result lists it."""

    name: str
    media_type: str
    href: str
    item: int | None = None


class Result(BaseModel):
    """What `GET /v1/jobs/{id}/result` answers; `items` stand in the order of the job's inputs."""

    kind: str
    model: ModelRef | None
    items: list[dict[str, Any]]
    artifacts: list[ArtifactRef]
    warnings: list[str]
    provenance: dict[str, Any]
    disclaimer: str = DISCLAIMER


@dataclass(frozen=True)
class Report:
    """What a kind's report is drawn from: the job and result as the API answers them, its files, the model's card."""

    job: Mapping[str, Any]
    result: Mapping[str, Any]
    artifact: Callable[[str], bytes]
    """The bytes of an artifact by name."""

    manifest: Mapping[str, Any] | None
