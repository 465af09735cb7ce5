"""What a kind of job is. The kinds themselves live in models/, a folder each, listed in models/registry.py."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from jobs.needs import Device

Pool = Literal["inference", "long"]
"""Which sort of worker process runs it: many short jobs in batches, or one long job at a time."""


class Params(BaseModel):
    """Base of every kind's `params`: unknown names, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, frozen=True)


class Recipe(Params):
    """Base of a recipe: the typed settings by which a kind's models are trained, each with its default."""

    def misfit(self, facts: Mapping[str, Any]) -> str | None:
        """Why nothing can be trained by this recipe on a data set with these facts; None where nothing speaks against
        it. Asked when a training is submitted: `facts` are those of the data set's result."""
        return None


@dataclass(frozen=True)
class Kind:
    """A kind of job: its schemas, and by dotted name ("package.module:attribute") the code that runs it.

    Only workers resolve `predictor`, `runner`, `splitter` and `trainer` (they may import torch); the API resolves
    `report`, which must not.
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

    joined: bool = False
    """Whether all inputs of a job make one item: their files in the order given."""

    splitter: str | None = None
    """`split(path: Path) -> Iterator[Source | JobError]`: the items of a file that holds many. None: a file is one."""

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

    device: Device = "any"
    """What it runs on: "gpu" and "cpu" keep its jobs from other workers; a version's manifest may say otherwise."""

    memory_bytes: int | None = None
    """Memory of the device that a loaded model needs at its largest batch, where its manifest does not say."""

    timeout_s: float = 300.0
    """Run time allowed to a job that does not say."""

    trainer: str | None = None
    """`train(session) -> jobs.training.NewVersion`, called by the training kind; None: not trained here."""

    recipes: Mapping[str, type[Recipe]] = field(default_factory=dict)
    """What `trainer` knows, by name; the first is taken where a job names none."""

    formats: tuple[str, ...] = ()
    """Forms of data set that `trainer` takes: "images", "sequences", "molecules"."""

    contract: type[BaseModel] | None = None
    """Schema of the contract under which anyone's own weights join this kind; None: they cannot."""


def resolve(dotted: str) -> Any:
    """The object that "package.module:attribute" names."""
    module, _, attribute = dotted.partition(":")
    return getattr(importlib.import_module(module), attribute)
