"""The schemas of the benchmark's kinds; torch is imported by their predictors only."""

from __future__ import annotations

from pydantic import BaseModel

from jobs.kinds import Kind, Params


class NoParams(Params):
    """Nothing to choose."""


class Number(BaseModel):
    """The input of a job that does nothing."""

    number: int


class Probability(BaseModel):
    """What the network says about one image; None where there is no network."""

    probability: float | None


NOOP = Kind(
    name="bench-noop",
    summary="Does nothing: what the system itself costs.",
    params=NoParams,
    item=Probability,
    data=Number,
    files=False,
    predictor="medjobs_bench.predictors:load_noop",
)

DENSENET121 = Kind(
    name="bench-densenet121",
    summary="DenseNet-121 with random weights on 224 px images: what remains of the system beside a real network.",
    params=NoParams,
    item=Probability,
    predictor="medjobs_bench.predictors:load_densenet121",
)

SLEEP = Kind(
    name="bench-sleep",
    summary="Waits half a second for up to eight jobs: what a fleet of GPUs asks of the rest.",
    params=NoParams,
    item=Probability,
    data=Number,
    files=False,
    predictor="medjobs_bench.sleeping:load",
)
