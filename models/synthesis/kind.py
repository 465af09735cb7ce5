"""The synthesis kind: how many pictures of which class, in which form. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from jobs.kinds import Kind, Params
from models.synthesis.recipes import RECIPES
from models.synthesis.sequence_recipes import SequenceGanRecipe

MOST = 50_000


class SynthesisParams(Params):
    """What a caller may choose. The pictures follow from the job's seed: the first of 64 are those of 8."""

    # As JSON the field has its own name again, which is a keyword of Python.
    model_config = ConfigDict(serialize_by_alias=True)

    count: int = Field(default=64, ge=1, le=MOST, description="Pictures to draw.")
    class_: str | None = Field(
        default=None, alias="class", max_length=100, description="A class of the generator; null: all of them in turn."
    )
    format: Literal["npz", "png", "dicom", "json", "csv"] = Field(
        default="npz",
        description="One npz of arrays; or a zip: of pictures as PNG or DICOM (Secondary Capture), of patients as JSON "
        "or CSV tables.",
    )


class SynthesisItem(BaseModel):
    """The one entry of the result. Figures are those of the generator's version, as measured when it was trained."""

    count: int
    classes: dict[str, int] = Field(description="Pictures by class.")
    format: Literal["npz", "png", "dicom", "json", "csv"]
    file: str = Field(description="The artifact that holds the pictures; sheet.png shows the first of them.")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="Of that file: equal jobs give equal files.")
    synthetic: Literal[True] = True
    quality: dict[str, Any] | None = Field(description="Of drawn and of real images (the floor); null: not measured.")
    usefulness: dict[str, Any] | None = Field(description="TSTR, TRTR and their difference; null: not measured.")
    privacy: dict[str, Any] | None = Field(description="Membership attacks, and the same on a memoriser.")
    gate: dict[str, Any] = Field(description="Limits and checks; what does not pass is not exported.")


KIND = Kind(
    name="synthesis",
    summary="A trained generator to virtual images or patients, marked as synthetic, with quality and privacy figures.",
    params=SynthesisParams,
    item=SynthesisItem,
    files=False,
    min_inputs=0,
    max_inputs=0,
    pool="long",
    runner="models.synthesis.runner:run",
    report="models.synthesis.report:render",
    default_model="chest-gan",
    shipped=Path(__file__).parent.parent / "shipped",
    timeout_s=4 * 3600.0,
    trainer="models.synthesis.trainer:train",
    recipes={**RECIPES, "sequence-gan": SequenceGanRecipe},
    formats=("images", "sequences"),
)
