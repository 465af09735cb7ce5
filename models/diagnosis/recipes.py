"""How diagnosis networks are trained: the recipes that a training job may name, typed. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from jobs.kinds import Recipe

Words = Annotated[str, StringConstraints(max_length=2000)]
GREY = ("MONOCHROME1", "MONOCHROME2")
ANY_COLOUR = (*GREY, "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT", "PALETTE COLOR")


class Augmentation(BaseModel):
    """How far a training image may be changed; every amount is drawn uniformly within plus or minus its bound.

    `shift` is in pixels of the network's input, `rotate` in degrees, `zoom` and `contrast` are fractions of 1,
    `brightness` is a fraction of the full grey range. `flip` mirrors left and right: off for chest images, where the
    side of the heart is a finding.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shift: float = Field(default=2.0, ge=0, le=64)
    rotate: float = Field(default=10.0, ge=0, le=180)
    zoom: float = Field(default=0.1, ge=0, le=0.9)
    brightness: float = Field(default=0.1, ge=0, le=1)
    contrast: float = Field(default=0.2, ge=0, le=1)
    flip: bool = False


class Card(BaseModel):
    """What only a person can say of a model (CHAI applied model card); empty where nobody said it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    intended_use: Words = "Research: not stated by whoever trained it."
    out_of_scope: Words = "Any clinical decision."
    population: Words = "That of the data set; see its card."
    known_risks: Words = "Not examined beyond the figures below."
    bias: Words = "Not examined beyond the subgroups below, where the data set has any."
    human_oversight: Words = "Where the model abstains, and wherever it matters, a clinician reads the image."


class DiagnosisRecipe(Recipe):
    """Settings of every diagnosis recipe. `epochs` are those of the full recipe; a time budget shortens all alike."""

    architecture: Literal["resnet18", "cnn-basic"] = "resnet18"
    width: int = Field(default=32, ge=4, le=128, description="Channels of ResNet's first stage (the paper's: 64).")
    members: int = Field(default=1, ge=1, le=10, description="Networks of cnn-basic whose logits are averaged.")
    epochs: float = Field(default=24, gt=0, le=1000)
    batch: int = Field(default=128, ge=2, le=4096)
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    weight_decay: float = Field(default=0.05, ge=0, le=1, description="Of kernels; 0 means Adam instead of AdamW.")
    warmup: float = Field(default=0.05, ge=0, lt=1, description="Share of the steps; 0: a constant learning rate.")
    label_smoothing: float = Field(default=0.05, ge=0, lt=0.5)
    ema: float = Field(default=0.995, ge=0, lt=1, description="Decay per step of the averaged weights; 0: none.")
    augmentation: Augmentation | None = Augmentation()
    precision: Literal["fp32", "bf16"] = "bf16"
    seeds: int = Field(default=1, ge=1, le=10, description="Networks trained; the one of least validation loss counts.")
    baseline_epochs: float = Field(default=12, gt=0, le=1000, description="Of cnn-basic, trained beside it.")

    positive: str | None = Field(default=None, max_length=100, description="The class that is the finding.")
    positive_means: Words = ""
    summary: Words = ""
    modality: tuple[str, ...] = Field(
        default=(), max_length=20, description="DICOM Modality that it takes; empty: the data set's, else any."
    )
    photometric_interpretation: tuple[str, ...] = ANY_COLOUR
    max_frames: int = Field(default=1, ge=1, le=4096)
    source: Words = ""
    license: Words = ""
    attribution: Words = ""
    card: Card = Card()


class Simple(DiagnosisRecipe):
    """cnn-basic as it is written: Adam at its usual 1e-3, binary cross-entropy, no augmentation, no averaging."""

    architecture: Literal["resnet18", "cnn-basic"] = "cnn-basic"
    epochs: float = Field(default=12, gt=0, le=1000)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    warmup: float = Field(default=0.0, ge=0, lt=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    ema: float = Field(default=0.0, ge=0, lt=1)
    augmentation: Augmentation | None = None
    precision: Literal["fp32", "bf16"] = "fp32"


class SimpleEnsemble(Simple):
    """Four of cnn-basic, averaged: on a few hundred images the small network wins, and averaging steadies it."""

    members: int = Field(default=4, ge=1, le=10)
    epochs: float = Field(default=30, gt=0, le=1000)
    baseline_epochs: float = Field(default=30, gt=0, le=1000)


CITE = "Yang et al., MedMNIST v2, Scientific Data 10, 41 (2023), CC BY 4.0"


class ChestPneumonia(DiagnosisRecipe):
    """The shipped chest-pneumonia, from PneumoniaMNIST."""

    seeds: int = Field(default=3, ge=1, le=10)
    positive: str | None = "pneumonia"
    positive_means: Words = (
        "The radiograph looks like those that two physicians graded as pneumonia, bacterial or viral."
    )
    summary: Words = "Pneumonia on frontal chest radiographs of children: ResNet-18, width 32, at 28 x 28 pixels."
    modality: tuple[str, ...] = ("CR", "DX")
    photometric_interpretation: tuple[str, ...] = GREY
    source: Words = f"PneumoniaMNIST: {CITE}; images of Kermany et al., Cell 172, 1122 (2018), CC BY 4.0"
    license: Words = "CC BY 4.0"
    attribution: Words = f"PneumoniaMNIST, {CITE}"
    card: Card = Card(
        intended_use="Research and teaching: to try a job system on a real, small model.",
        out_of_scope="Any clinical decision; adults; lateral views; CT; portable images of the severely ill.",
        population="Children of one to five years, one hospital in Guangzhou, frontal (AP) radiographs.",
        known_risks="The resolution of 28 x 28 pixels hides small opacities. The data come from one hospital: the "
        "model may read its habits of exposure and positioning. Pneumonia is 74 % of training and validation and "
        "62.5 % of the test part, whose images are harder: calibration and threshold, both from validation, carry "
        "over only in part, as the figures show.",
        bias="Age within the range, sex and device are not in the data set, so no subgroup could be looked at.",
    )


class BreastMalignancy(SimpleEnsemble):
    """The shipped breast-malignancy, from BreastMNIST.

    Chosen on validation (AUC, mean of the seeds): cnn-basic .893; with flips and smoothing .875; ResNet-18 of width 32
    .872.
    """

    seeds: int = Field(default=3, ge=1, le=10)
    positive: str | None = "malignant"
    positive_means: Words = "The image looks like those of lesions that were found malignant."
    summary: Words = "Malignant lesions on breast ultrasound: four small CNNs averaged, at 28 x 28 pixels."
    modality: tuple[str, ...] = ("US",)
    max_frames: int = Field(default=512, ge=1, le=4096)
    source: Words = f"BreastMNIST: {CITE}; images of Al-Dhabyani et al., Data in Brief 28, 104863 (2020), CC BY 4.0"
    license: Words = "CC BY 4.0"
    attribution: Words = f"BreastMNIST, {CITE}"
    card: Card = Card(
        intended_use="Research and teaching: a second model, to show that a model is data and not code.",
        out_of_scope="Any clinical decision; screening; mammography; video of a whole examination.",
        population="Women of 25 to 75 years, one hospital in Cairo, single frames chosen by the operator.",
        known_risks="Trained on 546 images of 28 x 28 pixels and calibrated on 78: every figure has a wide "
        "interval. Frames were chosen by someone who knew the lesion. 42 of the 156 test images and 26 of the 78 "
        "validation images nearly equal one of the training part, so the figures flatter.",
        bias="Age, device and ethnicity are not in the data set, so no subgroup could be looked at.",
    )


RECIPES: dict[str, type[Recipe]] = {
    "resnet18": DiagnosisRecipe,
    "cnn-basic": Simple,
    "cnn-basic-ensemble": SimpleEnsemble,
    "chest-pneumonia": ChestPneumonia,
    "breast-malignancy": BreastMalignancy,
}
"""By the name that a training job gives; the first is the default."""
