"""Kinds of job as another package would bring them: the mean of a file's bytes, numbers times a model's one weight, a
sum in many slow steps, and a training that makes such a weight."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from jobs.kinds import Kind, Params
from jobs.references import Names


class MeanParams(Params):
    """How the toy behaves beside taking the mean."""

    sleep_s: float = Field(default=0.0, ge=0, le=600, description="Time that one decode takes.")
    predict_s: float = Field(default=0.0, ge=0, le=600, description="Time that one predict takes.")
    artifact: bool = Field(default=False, description="Whether each item makes a file.")


class MeanItem(BaseModel):
    """One entry of the result."""

    mean: float
    size: int


class NumbersData(BaseModel):
    """An inline input."""

    values: list[int]


class ScaleItem(BaseModel):
    """One entry of the result: the number, scaled, and the version that did it."""

    scaled: float
    version: int


class TrainParams(Params):
    """A training; nothing is registered without a name."""

    steps: int = Field(default=10, ge=1, le=10_000)
    step_s: float = Field(default=0.0, ge=0, le=60)
    busy_s: float = Field(default=0.0, ge=0, le=60, description="Processor time that each step takes.")
    metrics: int = Field(default=1, ge=0, description="Metrics that each step tells.")
    checkpoint_every: int = Field(default=1, ge=1)
    show_every: int = Field(default=0, ge=0, description="Steps between two files that it shows; 0: none.")
    name: str | None = None
    store_s: float = Field(default=0.0, ge=0, le=60, description="Time that storing the version takes.")
    dataset: Annotated[str | None, Names("dataset")] = None
    parent: Annotated[str | None, Names("version")] = None


class TrainItem(BaseModel):
    """The outcome of a training; `rows` of its data set, the `parent`'s factor."""

    factor: float
    steps: int
    devices: list[str]
    rows: int | None = None
    parent: float | None = None


class StepsParams(Params):
    """A long job."""

    steps: int = Field(default=10, ge=1, le=10_000)
    step_s: float = Field(default=0.01, ge=0, le=60)
    checkpoint_every: int = Field(default=1, ge=1)
    deaf: bool = Field(default=False, description="Never looks whether it should stop.")


class StepsItem(BaseModel):
    """The outcome of a long job."""

    total: float
    steps: int


MEAN = Kind(
    name="toy-mean",
    summary="The mean of the bytes of a file, or of the numbers given inline.",
    params=MeanParams,
    item=MeanItem,
    data=NumbersData,
    predictor="toy_kinds.mean:load",
    timeout_s=60.0,
)

STEPS = Kind(
    name="toy-steps",
    summary="A sum of random numbers, one a step.",
    params=StepsParams,
    item=StepsItem,
    files=False,
    min_inputs=0,
    max_inputs=0,
    pool="long",
    runner="toy_kinds.steps:run",
    timeout_s=600.0,
)

SCALE = Kind(
    name="toy-scale",
    summary="Numbers times the one weight of a model.",
    params=Params,
    item=ScaleItem,
    splitter="toy_kinds.scale:split",
    predictor="toy_kinds.scale:load",
    default_model="toy-scale",
    shipped=Path(__file__).parent / "shipped",
    timeout_s=60.0,
)

TRAIN = Kind(
    name="toy-train",
    summary="A weight for toy-scale, made in many small steps.",
    params=TrainParams,
    item=TrainItem,
    files=False,
    min_inputs=0,
    max_inputs=0,
    pool="long",
    runner="toy_kinds.train:run",
    timeout_s=600.0,
)

HUNGRY = Kind(
    name="toy-hungry",
    summary="The mean of numbers, by a model for which memory is short on a GPU.",
    params=MeanParams,
    item=MeanItem,
    data=NumbersData,
    predictor="toy_kinds.hungry:load",
    memory_bytes=1 << 20,
    timeout_s=60.0,
)
