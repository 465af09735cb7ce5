"""The contract under which anyone's own network joins the diagnosis kind. No torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from imaging.terms import MODALITIES, PHOTOMETRIC

Text = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class OwnInput(BaseModel):
    """What the network reads: float32 (N, channels, rows, columns), grey values 0 to 255 mapped onto `range`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    rows: int = Field(ge=8, le=2048)
    columns: int = Field(ge=8, le=2048)
    channels: Literal[1, 3] = Field(default=1, description="3: the grey image three times.")
    range: tuple[float, float] = (0.0, 1.0)


class OwnContract(BaseModel):
    """What the network takes and what its numbers mean. Modalities: defined terms of PS3.3 C.7.3.1.1.1."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    classes: tuple[Text, ...] = Field(min_length=2, max_length=100)
    positive: Text = Field(description="The class that is the finding.")
    threshold: float = Field(default=0.5, ge=0, le=1)
    output: Literal["logits", "probabilities"] = Field(
        default="logits", description="What it gives: (N, classes), or (N, 1) for the second of two classes."
    )
    modality: tuple[str, ...] = Field(default=(), max_length=20, description="Empty: any, and each answer says so.")
    photometric_interpretation: tuple[str, ...] = Field(default=("MONOCHROME1", "MONOCHROME2"), min_length=1)
    png: bool = True
    min_rows: int = Field(default=8, ge=1)
    min_columns: int = Field(default=8, ge=1)
    max_frames: int = Field(default=1, ge=1, le=4096)
    fit: Literal["whole", "centre-square"] = "whole"
    input: OwnInput

    @model_validator(mode="after")
    def _known(self) -> OwnContract:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("two classes have the same name")
        if self.positive not in self.classes:
            raise ValueError("positive is not one of classes")
        if not set(self.modality) <= MODALITIES:
            raise ValueError("modality holds what is no defined term of the standard")
        if not set(self.photometric_interpretation) <= set(PHOTOMETRIC):
            raise ValueError("photometric_interpretation holds what is no defined term of the standard")
        return self
