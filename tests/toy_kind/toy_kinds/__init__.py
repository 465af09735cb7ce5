"""Two kinds of job as another package would bring them: the mean of a file's bytes, and a sum in many slow steps."""

from __future__ import annotations

from pydantic import BaseModel, Field

from jobs.kinds import Kind, Params


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
