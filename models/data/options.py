"""What a caller may say of the files of each format. pydantic alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from jobs.kinds import Params

Format = Literal["medmnist", "images", "sequences", "molecules", "physionet2012", "pbc2"]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
"""A column, class or unit."""

Fit = Literal["whole", "centre-square"]


class Options(Params):
    """Base of every format's options."""


class _Classes(Options):
    """What the classes of images are called."""

    classes: tuple[Name, ...] | None = Field(default=None, max_length=1000, description="Class names, by index.")
    positive: Name | None = Field(default=None, description="The class that the probability of two classes is of.")
    fit: Fit = Field(default="whole", description="Part of the original frame that is, or is to be, resized.")

    @model_validator(mode="after")
    def _distinct(self) -> _Classes:
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            raise ValueError("two classes have the same name")
        if self.classes is not None and self.positive is not None and self.positive not in self.classes:
            raise ValueError("positive is not one of classes")
        return self


class MedmnistOptions(_Classes):
    """Of a MedMNIST npz. Its images are finished: `fit` says how they were made."""

    modalities: tuple[Name, ...] = Field(default=(), max_length=10, description="DICOM Modality of the images.")


class ImagesOptions(_Classes):
    """Of a zip of DICOM or PNG files with labels.csv (path, label, patient, split; any other column is a subgroup)."""

    size: Literal[28, 64, 128, 224] = 28
    skip_bad: bool = Field(default=False, description="Leave out images that cannot be read, with a warning.")


class BinaryOutcome(Options):
    """A column of 0 and 1."""

    kind: Literal["binary"] = "binary"
    column: Name = "outcome"


class SurvivalOutcome(Options):
    """A column of times and one of 0 (censored) and 1 (event)."""

    kind: Literal["survival"]
    duration: Name = "duration"
    event: Name = "event"


class SequencesOptions(Options):
    """Of two tables: observations, one a row, and subjects."""

    id: Name = Field(default="id", description="Column of both tables that names the subject.")
    time: Name = "time"
    variable: Name = "variable"
    value: Name = "value"
    unit: Name = Field(default="hours", description="Of the times, and of the duration of a survival outcome.")
    outcome: Annotated[BinaryOutcome | SurvivalOutcome, Field(discriminator="kind")] = BinaryOutcome()
    statics: tuple[Name, ...] | None = Field(default=None, description="Inputs; None: every column with no other use.")
    groups: tuple[Name, ...] = Field(
        default=(), description="Columns that are subgroups of the evaluation, not inputs."
    )
    patient: Name | None = Field(default=None, description="Column of the patient where one has several subjects.")
    split: Name | None = Field(default=None, description="Column with train, validation or test; None: by hash.")
    exclude: tuple[Name, ...] = Field(default=(), description="Columns and variables to leave out.")


class MoleculesOptions(Options):
    """Of a table of SMILES."""

    smiles: Name = "smiles"
    targets: tuple[Name, ...] = Field(min_length=1, max_length=1000)
    split: Name | None = None
    split_by: Literal["molecule", "scaffold"] = Field(
        default="molecule", description="Without a column: by each molecule's hash, or by Bemis-Murcko scaffold."
    )
    values: Literal["classes", "numbers"] = Field(
        default="classes", description="What the targets are: classes of 0 and 1, or measurements."
    )
    units: Mapping[Name, Name] = Field(default={}, description="Of targets that are numbers, such as log mol/l.")

    @model_validator(mode="after")
    def _of_targets(self) -> MoleculesOptions:
        if len(set(self.targets)) != len(self.targets):
            raise ValueError("two targets have the same name")
        if set(self.units) - set(self.targets):
            raise ValueError("units names what is no target")
        if self.units and self.values == "classes":
            raise ValueError("classes have no unit")
        return self


class Physionet2012Options(Options):
    """Of a set of the PhysioNet/CinC Challenge 2012: nothing to say."""


class Pbc2Options(Options):
    """Of the pbc2 table: nothing to say."""


OPTIONS: Mapping[str, type[Options]] = {
    "medmnist": MedmnistOptions,
    "images": ImagesOptions,
    "sequences": SequencesOptions,
    "molecules": MoleculesOptions,
    "physionet2012": Physionet2012Options,
    "pbc2": Pbc2Options,
}
