"""What a kind of job is. The kinds themselves live in models/, a folder each, listed in models/registry.py."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Pool = Literal["inference", "long"]
"""Which sort of worker process runs it: many short jobs in batches, or one long job at a time."""


class Params(BaseModel):
    """Base of every kind's `params`: unknown names, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, frozen=True)


@dataclass(frozen=True)
class Kind:
    """A kind of job: its schemas, and by dotted name ("package.module:attribute") the code that runs it.

    Only workers resolve `predictor` and `runner` (they import torch); the API resolves `report`, which must not.
    """

    name: str
    summary: str
    params: type[Params]
    item: type[BaseModel]
    """Schema of one entry of the result's `items`."""

    data: type[BaseModel] | None = None
    """Schema of an inline input's `data`; None where the kind takes files only."""

    files: bool = True
    """Whether an input may be a file, a series or an archive."""

    min_inputs: int = 1
    max_inputs: int = 10_000
    pool: Pool = "inference"
    predictor: str | None = None
    """`load(version: ModelVersion, device: str) -> jobs.predicting.Predictor`, for the inference pool."""

    runner: str | None = None
    """`run(work: jobs.running.Work) -> jobs.running.Finished`, for the long pool."""

    report: str | None = None
    """`render(report: jobs.results.Report) -> str` (HTML); None for the plain report of the result's common part."""

    default_model: str | None = None
    """The model used where a job names none; None where the kind needs no model or has none by default."""

    shipped: Path | None = None
    """Folder of model versions that come with the kind: `<name>/aliases.json`, `<name>/<version>/manifest.json`."""

    timeout_s: float = 300.0
    """Run time allowed to a job that does not say."""


def resolve(dotted: str) -> Any:
    """The object that "package.module:attribute" names."""
    module, _, attribute = dotted.partition(":")
    return getattr(importlib.import_module(module), attribute)
