"""The prediction kind: its parameters, its input and its result, as http-api.md gives them. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from jobs.kinds import Kind, Params
from models.prediction.recipes import RECIPES


class PredictionParams(Params):
    """What a caller may choose."""

    explain: bool = Field(default=True, description="Attribute the risk to measurements (integrated gradients).")
    picture: bool = Field(
        default=True,
        description="Draw each patient's course as SVG, with the risk over time; only where `explain` is true.",
    )
    horizons: tuple[float, ...] | None = Field(
        default=None, min_length=1, description="Which of the model's horizons to report, in its unit; null: all."
    )


class Measurement(BaseModel):
    """One measurement of a patient."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    time: float = Field(ge=0, description="In the unit of the model's contract, from the start of the course.")
    name: str = Field(description="A variable of the model's contract.")
    value: float


class PatientData(BaseModel):
    """One patient. Measurements stand in order of time; a static value that is not known is null or left out."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    static: dict[str, float | None] = {}
    observations: list[Measurement] = []


class Risk(BaseModel):
    """The probability of the outcome by `horizon` (in the model's unit; null: the outcome has no time)."""

    outcome: str
    horizon: float | None
    probability: float = Field(ge=0, le=1)
    interval: tuple[float, float] = Field(description="Lowest and highest of the ensemble's members: their spread.")


class Survival(BaseModel):
    """The probability of no event up to each time after the last measurement, 1 at time 0."""

    times: list[float]
    survival: list[float]


class Course(BaseModel):
    """How a variable goes on: its next value with an interval, beside the last one measured."""

    variable: str
    last: float | None
    next: float
    interval: tuple[float, float]
    coverage: float = Field(description="Share of true values that the interval held where it was fitted, 0 to 1.")


class Attribution(BaseModel):
    """What one feature adds to the networks' logit. `time`: start of its bin; null for a static value."""

    feature: str
    time: float | None
    weight: float


class Completeness(BaseModel):
    """Whether the attributions add up: all of them, the logit's distance from the baseline, and what is between."""

    sum: float
    difference: float
    error: float


class Moment(BaseModel):
    """The risk as the model saw it with the measurements up to `time`."""

    time: float
    probability: float = Field(ge=0, le=1)


class Uncertainty(BaseModel):
    """How far to trust the item; `abstain` means: route it to a clinician."""

    ood_score: float = Field(description="Distance from the training patients over its threshold; above 1 is far.")
    in_distribution: bool
    abstain: bool
    reason: str | None = None
    spread: float = Field(description="Standard deviation of the members' probabilities at the first horizon.")


class PredictionItem(BaseModel):
    """One entry of a prediction result."""

    risks: list[Risk]
    survival: Survival | None = None
    course: Course | None = None
    attributions: list[Attribution] = []
    completeness: Completeness | None = None
    over_time: list[Moment] = Field(default=[], description="Only where a picture was asked for.")
    uncertainty: Uncertainty
    notes: list[str] = Field(default=[], description="What a reader should know: what was left out, what was clipped.")


KIND = Kind(
    name="prediction",
    summary="A patient's measurements over time to risk, survival and course, with what the risk rests on.",
    params=PredictionParams,
    item=PredictionItem,
    data=PatientData,
    splitter="models.prediction.splitting:split",
    predictor="models.prediction.predictor:load",
    report="models.prediction.report:render",
    default_model="icu-mortality",
    shipped=Path(__file__).parent.parent / "shipped",
    trainer="models.prediction.trainer:train",
    recipes=RECIPES,
    formats=("sequences",),
)
