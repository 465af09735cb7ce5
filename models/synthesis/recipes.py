"""How generators are trained: the recipes that a training job may name, typed. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from jobs.kinds import Recipe

Words = Annotated[str, StringConstraints(max_length=2000)]


class Card(BaseModel):
    """What only a person can say of a model (CHAI applied model card)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    intended_use: Words = "Research: virtual images that enlarge a training set, or that stand in for one in tests."
    out_of_scope: Words = "Any clinical decision; judging a diagnostic model; passing for images of patients."
    population: Words = "It draws what its training images show, and nobody else; see the data set's card."
    known_risks: Words = (
        "A generator can repeat what it was trained on, and leave out what is rare there. The figures below measure "
        "both, with attacks that are known today; they are no proof of privacy."
    )
    bias: Words = "What the data set shows too rarely, the generator shows more rarely still."
    human_oversight: Words = "Whoever mixes virtual with real images keeps them marked, and tests on real ones alone."


class SynthesisRecipe(Recipe):
    """Settings of every image GAN. `epochs` count steps of the generator over the training images."""

    architecture: Literal["sn-gan", "dcgan-basic"] = "sn-gan"
    width: int = Field(default=32, ge=4, le=128, description="Channels at full size (c).")
    noise: int = Field(default=64, ge=2, le=512, description="Numbers that a picture is drawn from.")
    epochs: float = Field(default=60, gt=0, le=10_000)
    batch: int = Field(default=64, ge=4, le=4096)
    learning_rate: float = Field(default=2e-4, gt=0, le=0.1, description="Of the generator, by Adam.")
    discriminator_rate: float = Field(default=5e-4, gt=0, le=0.1, description="Of the discriminator, by Adam.")
    beta1: float = Field(default=0.0, ge=0, lt=1)
    beta2: float = Field(default=0.9, ge=0, lt=1)
    r1: float = Field(default=0.1, ge=0, description="Weight of the gradient penalty on real images; 0: none.")
    r1_every: int = Field(default=16, ge=1, description="Turns of the discriminator between two penalties (lazy).")
    translation: float = Field(default=0.125, ge=0, le=0.5, description="DiffAugment, as a share of the side.")
    cutout: float = Field(default=0.3, ge=0, lt=1, description="DiffAugment: side of the hole as a share.")
    ema: float = Field(default=0.999, ge=0, lt=1, description="Decay of the generator's averaged weights per turn.")
    baseline_epochs: float = Field(default=20, gt=0, le=1000, description="Of dcgan-basic, trained beside it.")
    checked: int = Field(default=2000, ge=50, le=50_000, description="Pictures that the figures are taken from.")
    judge_epochs: float = Field(default=6, gt=0, le=1000, description="Of the classifiers of TSTR and TRTR.")

    summary: Words = ""
    modality: str = Field(default="OT", max_length=16, description="DICOM Modality that its pictures imitate.")
    body_part: str = Field(default="", max_length=16, description="DICOM BodyPartExamined, where there is one.")
    source: Words = ""
    license: Words = ""
    attribution: Words = ""
    card: Card = Card()


class DcganRecipe(SynthesisRecipe):
    """dcgan-basic with the settings of its paper: Adam 2e-4 (.5, .999), the usual cross-entropy, nothing else."""

    architecture: Literal["sn-gan", "dcgan-basic"] = "dcgan-basic"
    noise: int = Field(default=100, ge=2, le=512)
    epochs: float = Field(default=20, gt=0, le=10_000)
    discriminator_rate: float = Field(default=2e-4, gt=0, le=0.1)
    beta1: float = Field(default=0.5, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    r1: float = Field(default=0.0, ge=0)
    translation: float = Field(default=0.0, ge=0, le=0.5)
    cutout: float = Field(default=0.0, ge=0, lt=1)
    ema: float = Field(default=0.0, ge=0, lt=1)


CITE = "Yang et al., MedMNIST v2, Scientific Data 10, 41 (2023), CC BY 4.0"


class ChestGan(SynthesisRecipe):
    """The shipped chest-gan, from PneumoniaMNIST: narrow and quick enough to be made again on two busy cores."""

    width: int = Field(default=16, ge=4, le=128)
    epochs: float = Field(default=20, gt=0, le=10_000)
    batch: int = Field(default=32, ge=4, le=4096)
    learning_rate: float = Field(default=4e-4, gt=0, le=0.1)
    discriminator_rate: float = Field(default=1e-3, gt=0, le=0.1)
    baseline_epochs: float = Field(default=4, gt=0, le=1000)
    summary: Words = "Draws chest radiographs of children, normal or with pneumonia, at 28 x 28 pixels: SN-GAN, c = 16."
    modality: str = Field(default="CR", max_length=16)
    body_part: str = Field(default="CHEST", max_length=16)
    source: Words = f"PneumoniaMNIST: {CITE}; images of Kermany et al., Cell 172, 1122 (2018), CC BY 4.0"
    license: Words = "CC BY 4.0"
    attribution: Words = f"PneumoniaMNIST, {CITE}"
    card: Card = Card(
        population="Frontal (AP) chest radiographs of children of one to five years, one hospital in Guangzhou.",
        bias="Age within the range, sex and device are not in the data set, so no subgroup could be looked at.",
    )


RECIPES: Mapping[str, type[Recipe]] = {
    "sn-gan": SynthesisRecipe,
    "dcgan-basic": DcganRecipe,
    "chest-gan": ChestGan,
}
"""By the name that a training job gives; the first is the default."""
