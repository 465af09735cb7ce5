"""Bodies and answers of /v1/kinds and /v1/models."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import Answer


class KindPath(BaseModel):
    """A kind's name."""

    kind: str


class ModelPath(BaseModel):
    """A model's name."""

    name: str


class VersionPath(BaseModel):
    """A model's version."""

    name: str
    version: int


class VersionFilePath(BaseModel):
    """A file of a model's version."""

    name: str
    version: int
    file: str


class AliasPath(BaseModel):
    """An alias of a model."""

    name: str
    alias: str


class CompareQuery(BaseModel):
    """Two versions of one model."""

    model_config = ConfigDict(extra="forbid")
    a: int = Field(ge=1, description="The version to compare with.")
    b: int = Field(ge=1, description="The version that is compared; differences are b - a.")


class ModelSummary(Answer):
    """A version of a model, in short."""

    name: str
    version: int
    kind: str
    summary: str
    aliases: list[str]
    created_at: datetime | None
    metrics: dict[str, Any] = Field(description="Of the test part, with 95 % intervals.")
    href: str


class RecipeBody(Answer):
    """A recipe's settings as JSON Schema, and what they are where nothing is said."""

    schema_: dict[str, Any] = Field(alias="schema")
    defaults: dict[str, Any]


class KindBody(Answer):
    """A kind of job with its schemas (JSON Schema 2020-12)."""

    name: str
    summary: str
    pool: Literal["inference", "long"]
    min_inputs: int
    max_inputs: int
    takes_files: bool
    joined: bool = Field(description="Whether all inputs make one item.")
    many: bool = Field(description="Whether one file may hold many items.")
    default_model: str | None
    timeout_s: float
    params: dict[str, Any]
    input: dict[str, Any] | None
    result: dict[str, Any]
    trainable: bool
    formats: list[str] = Field(description="Forms of data set that a training of it takes.")
    recipes: dict[str, RecipeBody] = Field(description="By name; the first is the default.")
    contract: dict[str, Any] | None = Field(description="Schema for `POST /v1/models`; null: no own models.")
    models: list[ModelSummary]
    href: str


class KindList(Answer):
    """Every kind."""

    kinds: list[KindBody]


class MoveBody(Answer):
    """One move of an alias."""

    name: str
    alias: str
    before: int | None
    after: int
    at: datetime
    by: str | None
    reason: str | None
    gate: dict[str, Any] | None = Field(description="What the gate said, where it was asked.")


class ModelBody(Answer):
    """A model with its aliases and versions, newest first."""

    name: str
    kind: str
    yours: bool = Field(description="Whether the caller may move its aliases: it is the owner, or an admin.")
    aliases: dict[str, int]
    gate: dict[str, Any] | None
    versions: list[ModelSummary]


class ModelDetail(ModelBody):
    """A model with every move of its aliases, newest first."""

    history: list[MoveBody]


class ModelList(Answer):
    """Every model."""

    models: list[ModelBody]


class VersionRef(Answer):
    """A version by name and number."""

    name: str
    version: int


class VersionFile(Answer):
    """A file of a version."""

    path: str
    id: str = Field(description='"sha256:" and 64 hex digits.')
    size: int = Field(description="Bytes.")
    href: str


class VersionBody(Answer):
    """One version: its manifest, with card, metrics and contract."""

    name: str
    version: int
    kind: str
    aliases: list[str]
    job: UUID | None = Field(description="The training that made it.")
    lineage: list[VersionRef] = Field(description="The version itself, its parent, and so on.")
    files: list[VersionFile]
    manifest: dict[str, Any]


class DifferenceBody(Answer):
    """One figure of both; `difference` = b - a with its 95 % interval `low` to `high` (paired bootstrap)."""

    figure: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    higher_is_better: bool


class SubgroupBody(Answer):
    """The differences in one subgroup; none where it has too few cases to be judged."""

    name: str
    n: int
    differences: list[DifferenceBody]


class ComparisonBody(Answer):
    """Version b against a over the same test cases."""

    a: int
    b: int
    n: int
    differences: list[DifferenceBody]
    subgroups: list[SubgroupBody]
