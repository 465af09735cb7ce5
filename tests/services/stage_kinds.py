"""Kinds made for tests of the API: each way in which a kind may take inputs, parameters and references."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from jobs.datasets import KIND
from jobs.kinds import Kind, Params, Recipe
from jobs.nested import checked
from jobs.references import Names


class Nested(BaseModel):
    """A parameter with members of its own."""

    ratio: float = Field(default=0.5, ge=0, le=1, allow_inf_nan=False)


class PictureParams(Params):
    """Parameters of every sort."""

    explain: bool = True
    level: int = Field(default=1, ge=1, le=5)
    mode: Literal["fast", "exact"] = "fast"
    nested: Nested = Nested()


class PictureItem(BaseModel):
    """An entry of the result."""

    score: float


class Patient(BaseModel):
    """Inline data."""

    age: int = Field(alias="Age", ge=0)
    visits: list[Nested] = []


class Small(Recipe):
    """How a picture model is trained."""

    epochs: int = Field(default=3, ge=1)


class PictureContract(BaseModel):
    """What an own model of pictures says of itself."""

    model_config = ConfigDict(extra="forbid")
    rows: int = Field(ge=1)


class DatasetOptions(BaseModel):
    """Options of the one format that there is."""

    model_config = ConfigDict(extra="forbid")
    classes: list[str] = []


class DatasetParams(Params):
    """A data set's format."""

    format: Literal["pixels", "letters"]
    options: dict[str, Any] = Field(default={}, validate_default=True)

    @field_validator("options")
    @classmethod
    def _known(cls, given: dict[str, Any]) -> dict[str, Any]:
        return checked(DatasetOptions, given).model_dump(mode="json")


class DatasetItem(BaseModel):
    """What reading a data set gives."""

    format: str
    fingerprint: str


class TeachingParams(Params):
    """A long job that names a data set and a version."""

    kind: str
    dataset: Annotated[str, Names("dataset")]
    parent: Annotated[str | None, Names("version")] = None
    name: str | None = None

    def check_references(
        self, datasets: Mapping[str, Mapping[str, Any]], versions: Mapping[str, Any]
    ) -> list[tuple[str, str]]:
        """Pixels alone, and parents of the kind that is trained."""
        wrong = [("dataset", "Use pixels.")] if datasets["dataset"]["format"] != "pixels" else []
        parent = versions.get("parent")
        return wrong + ([("parent", "Use a parent of this kind.")] if parent and parent.kind != self.kind else [])

    def makes(self) -> tuple[str, str]:
        """The model that comes of it."""
        return self.name or self.dataset, self.kind


def kinds(shipped: Path) -> tuple[Kind, ...]:
    """One kind with models and both sorts of input, one of files alone, one without anything; and those of training."""
    both: dict[str, Any] = {
        "params": PictureParams,
        "item": PictureItem,
        "shipped": shipped,
        "default_model": "pictures",
        "trainer": "nowhere:train",
        "recipes": {"small": Small},
        "formats": ("images",),
        "contract": PictureContract,
    }
    return (
        Kind(name="picture", summary="Pictures.", data=Patient, max_inputs=5, timeout_s=77.0, **both),
        Kind(name="files-only", summary="Files.", params=Params, item=PictureItem),
        Kind(name="nothing", summary="No inputs.", params=Params, item=PictureItem, files=False, min_inputs=0,
             max_inputs=0, pool="long"),
        Kind(name=KIND, summary="Data sets.", params=DatasetParams, item=DatasetItem, joined=True, max_inputs=3),
        Kind(name="teaching", summary="Training.", params=TeachingParams, item=PictureItem, files=False, min_inputs=0,
             max_inputs=0, pool="long"),
    )  # fmt: skip
