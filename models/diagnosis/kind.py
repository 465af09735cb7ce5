"""The diagnosis kind: its parameters and its result, as http-api.md gives them. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from jobs.kinds import Kind, Params
from models.diagnosis.contracts import OwnContract
from models.diagnosis.recipes import RECIPES


class DiagnosisParams(Params):
    """What a caller may choose."""

    explain: bool = Field(default=True, description="Draw the evidence map (Grad-CAM) and the pictures.")


class Region(BaseModel):
    """A place that a model trained on boxes or masks marked. `box`: x, y, width, height in stored pixels."""

    box: tuple[int, int, int, int]
    frame: int = Field(ge=1)
    score: float


class Finding(BaseModel):
    """One label of the model; `decision` is positive where `probability` >= `threshold`."""

    label: str
    probability: float = Field(ge=0, le=1)
    decision: Literal["positive", "negative"]
    threshold: float
    regions: list[Region] = []


class Uncertainty(BaseModel):
    """How far to trust the item; `abstain` means: route it to a clinician."""

    entropy: float = Field(description="Of the calibrated probabilities, in bits.")
    ood_score: float | None = Field(
        description="Mahalanobis distance of the features over its threshold; above 1 is far. Null: not known."
    )
    in_distribution: bool | None
    abstain: bool
    reason: str | None = None


class Evidence(BaseModel):
    """Where the model looked: evidence for its output, not a cause and not a segmentation."""

    label: str
    boxes: list[Region]
    artifact: str | None
    audit: str


class DiagnosisItem(BaseModel):
    """One entry of a diagnosis result."""

    findings: list[Finding]
    prediction_set: list[str]
    uncertainty: Uncertainty
    evidence: list[Evidence] = []
    notes: list[str] = Field(default=[], description="What a reader should know: the frame, what was not checked.")


KIND = Kind(
    name="diagnosis",
    summary="A CNN on DICOM images: findings with probability, uncertainty and the evidence on the image.",
    params=DiagnosisParams,
    item=DiagnosisItem,
    predictor="models.diagnosis.predictor:load",
    report="models.diagnosis.report:render",
    default_model="chest-pneumonia",
    shipped=Path(__file__).parent.parent / "shipped",
    trainer="models.diagnosis.trainer:train",
    recipes=RECIPES,
    formats=("images",),
    contract=OwnContract,
)
