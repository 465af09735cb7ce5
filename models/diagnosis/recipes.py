"""What the shipped models are made from: data set, labels, recipe, seeds, input contract, words of their cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.diagnosis.trainer import Recipe


@dataclass(frozen=True)
class Shipped:
    """One model of the repository. `positive` is the index of the finding's class in `classes`."""

    name: str
    file: str
    """The data set's file, in the folder that --data names."""

    summary: str
    classes: tuple[str, ...]
    positive: int
    positive_means: str
    contract: Mapping[str, Any]
    recipe: Recipe
    seeds: tuple[int, ...]
    baseline_epochs: int
    source: Mapping[str, str]
    card: Mapping[str, str] = field(repr=False)
    members: int = 1
    """Networks that are averaged; seed s then stands for the members s * members and following."""

    @property
    def network(self) -> tuple[str, dict[str, int | bool]]:
        """Name and configuration as the manifest gives them."""
        if self.members == 1:
            return self.recipe.architecture, dict(self.recipe.options)
        return f"{self.recipe.architecture}-ensemble", {**self.recipe.options, "members": self.members}


INPUT = {"rows": 28, "columns": 28, "channels": 1, "range": [-1, 1]}
GREY = ("MONOCHROME1", "MONOCHROME2")
CITE = "Yang et al., MedMNIST v2, Scientific Data 10, 41 (2023), CC BY 4.0"

CHEST = Shipped(
    name="chest-pneumonia",
    file="pneumoniamnist.npz",
    summary="Pneumonia on frontal chest radiographs of children: ResNet-18, width 32, at 28 x 28 pixels.",
    classes=("normal", "pneumonia"),
    positive=1,
    positive_means="The radiograph looks like those that two physicians graded as pneumonia, bacterial or viral.",
    contract={
        "modality": ["CR", "DX"],
        "photometric_interpretation": [*GREY],
        "png": True,
        "min_rows": 28,
        "min_columns": 28,
        "max_frames": 1,
        "fit": "centre-square",
        "input": INPUT,
    },
    recipe=Recipe(epochs=24),
    seeds=(0, 1, 2),
    baseline_epochs=12,
    source={
        "source": f"PneumoniaMNIST: {CITE}; images of Kermany et al., Cell 172, 1122 (2018), CC BY 4.0",
        "license": "CC BY 4.0",
        "attribution": f"PneumoniaMNIST, {CITE}",
    },
    card={
        "intended_use": "Research and teaching: to try a job system on a real, small model.",
        "out_of_scope": "Any clinical decision; adults; lateral views; CT; portable images of the severely ill.",
        "population": "Children of one to five years, one hospital in Guangzhou, frontal (AP) radiographs.",
        "known_risks": "The resolution of 28 x 28 pixels hides small opacities. The data come from one hospital: the "
        "model may read its habits of exposure and positioning. Pneumonia is 74 % of training and validation and "
        "62.5 % of the test part, whose images are harder: calibration and threshold, both from validation, carry "
        "over only in part, as the figures show.",
        "bias": "Age within the range, sex and device are not in the data set, so no subgroup could be looked at.",
        "human_oversight": "Where the model abstains, and wherever it matters, a clinician reads the image.",
    },
)

BREAST = Shipped(
    name="breast-malignancy",
    file="breastmnist.npz",
    summary="Malignant lesions on breast ultrasound: four small CNNs averaged, at 28 x 28 pixels.",
    classes=("malignant", "normal or benign"),
    positive=0,
    positive_means="The image looks like those of lesions that were found malignant.",
    contract={
        "modality": ["US"],
        "photometric_interpretation": [*GREY, "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT", "PALETTE COLOR"],
        "png": True,
        "min_rows": 28,
        "min_columns": 28,
        "max_frames": 512,
        "fit": "whole",
        "input": INPUT,
    },
    # Chosen on validation (AUC, mean of the seeds): cnn-basic .893; with flips and smoothing .875; ResNet-18 of width
    # 32 .872. With 546 images the small network wins, and averaging steadies it.
    recipe=Recipe.baseline(30),
    members=4,
    seeds=(0, 1, 2),
    baseline_epochs=30,
    source={
        "source": f"BreastMNIST: {CITE}; images of Al-Dhabyani et al., Data in Brief 28, 104863 (2020), CC BY 4.0",
        "license": "CC BY 4.0",
        "attribution": f"BreastMNIST, {CITE}",
    },
    card={
        "intended_use": "Research and teaching: a second model, to show that a model is data and not code.",
        "out_of_scope": "Any clinical decision; screening; mammography; video of a whole examination.",
        "population": "Women of 25 to 75 years, one hospital in Cairo, single frames chosen by the operator.",
        "known_risks": "Trained on 546 images of 28 x 28 pixels and calibrated on 78: every figure has a wide "
        "interval. Frames were chosen by someone who knew the lesion.",
        "bias": "Age, device and ethnicity are not in the data set, so no subgroup could be looked at.",
        "human_oversight": "Where the model abstains, and wherever it matters, a clinician reads the image.",
    },
)

SHIPPED = {model.name: model for model in (CHEST, BREAST)}
"""The models that `python -m models.diagnosis.make` knows, by name."""
