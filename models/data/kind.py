"""The dataset kind: files of a known format in, a checked set in canonical form out. Imports no torch and no polars."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from jobs.datasets import KIND as NAME
from jobs.kinds import Kind, Params
from jobs.nested import checked
from models.data.options import OPTIONS, Format
from models.data.problems import Guard


class DatasetParams(Params):
    """The format of the files, and what it leaves open."""

    format: Format = "medmnist"
    options: dict[str, Any] = Field(default={}, validate_default=True, description="By format; see docs/data-sets.md.")

    @field_validator("options")
    @classmethod
    def _known(cls, given: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """Every option with its default, so that equal data sets have equal params."""
        if "format" not in info.data:
            return given
        return checked(OPTIONS[info.data["format"]], given).model_dump(mode="json")


class DatasetWarning(BaseModel):
    """Something that the guards found; the set is used all the same."""

    guard: Guard
    detail: str
    count: int


class DatasetItem(BaseModel):
    """The one entry of the result: all that is known of the data set."""

    format: Format
    fingerprint: str = Field(pattern="^[0-9a-f]{64}$", description="Equal for equal cases in any order of rows.")
    counts: dict[str, int] = Field(description="Cases by part: train, validation, test.")
    classes: dict[str, dict[str, int]] = Field(description="Cases by part and outcome.")
    facts: dict[str, Any]
    warnings: list[DatasetWarning]
    card: str = Field(description="The data card, markdown; its pictures are artifacts.")
    files: list[str] = Field(description="Artifacts that are the canonical form.")


KIND = Kind(
    name=NAME,
    summary="A data set checked in its own process: problems by row and column, guards, fingerprint, data card.",
    params=DatasetParams,
    item=DatasetItem,
    joined=True,
    max_inputs=64,
    predictor="models.data.predictor:load",
    timeout_s=3600.0,
)
