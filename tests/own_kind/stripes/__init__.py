"""A whole kind from a package of its own: whether a small picture is striped, by a network that is trained here.

The API reads this file: it declares schemas and names the code, and imports no torch.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from jobs.kinds import Kind, Params, Recipe

SIDE = 8

Pixel = Annotated[float, Field(ge=0, le=255)]
Row = Annotated[list[Pixel], Field(min_length=SIDE, max_length=SIDE)]


class Picture(BaseModel):
    """An inline input: 8 rows of 8 grey values, black 0 and white 255."""

    pixels: list[Row] = Field(min_length=SIDE, max_length=SIDE)


class StripesParams(Params):
    """What is added to the answer."""

    threshold: float = Field(default=0.5, gt=0, lt=1, description="Probability from which a picture is striped.")


class StripesItem(BaseModel):
    """One entry of the result."""

    probability: float
    striped: bool


class StripesRecipe(Recipe):
    """How the network is trained."""

    epochs: float = Field(default=6, gt=0)
    learning_rate: float = Field(default=0.01, gt=0)


KIND = Kind(
    name="stripes",
    summary="Whether a picture of 8 x 8 pixels is striped.",
    params=StripesParams,
    item=StripesItem,
    data=Picture,
    files=False,
    predictor="stripes.predictor:load",
    trainer="stripes.trainer:train",
    recipes={"small": StripesRecipe},
    formats=("images",),
    timeout_s=60.0,
)
