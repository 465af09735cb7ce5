"""The training kind: which kind of model, on which data set, by which recipe. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from jobs.errors import OtherRelease
from jobs.kinds import Kind, Params, Recipe
from jobs.nested import checked
from jobs.references import Names

MOST_MINUTES = 1440
DAY_S = 86_400.0

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""What a model or data set may be called."""

FORMS: Mapping[str, str] = {
    "medmnist": "images",
    "images": "images",
    "sequences": "sequences",
    "physionet2012": "sequences",
    "pbc2": "sequences",
    "molecules": "molecules",
}
"""Format of a data set's files -> its canonical form, which is what a kind takes."""


def trainable() -> dict[str, Kind]:
    """Kinds that have a trainer, by name."""
    # Imported here: the registry imports this module.
    from models.registry import kinds

    return {name: kind for name, kind in kinds().items() if kind.trainer is not None}


class TrainingParams(Params):
    """What is to be trained. The settings of each recipe are those of `GET /v1/kinds/{kind}`."""

    kind: str = Field(description="A kind that can be trained.")
    dataset: Annotated[str, Names("dataset")] = Field(pattern=NAME, description="One of the caller's data sets.")
    recipe: str | None = Field(default=None, validate_default=True, description="Default: the kind's first.")
    overrides: dict[str, Any] = Field(default={}, description="Settings of the recipe that differ from its defaults.")
    minutes: float | None = Field(
        default=None, gt=0, le=MOST_MINUTES, description="Time for all of it; null: the recipe's full epochs."
    )
    devices: int = Field(default=1, ge=1, le=64, description="GPUs that share each batch.")
    parent: Annotated[str | None, Names("version")] = Field(
        default=None, max_length=200, description="Version whose weights it starts from, such as `mine@3`."
    )
    augment_with: Annotated[str | None, Names("version")] = Field(
        default=None, max_length=200, description="Generator whose virtual images join the training part."
    )
    ratio: float = Field(default=1.0, gt=0, le=20, description="With `augment_with`: virtual images per real one.")
    name: str | None = Field(default=None, pattern=NAME, description="Of the model; default: the data set's.")

    @field_validator("kind")
    @classmethod
    def _trainable(cls, given: str) -> str:
        if given not in trainable():
            words = {"known": ", ".join(sorted(trainable()))}
            raise PydanticCustomError("kind", "No such kind can be trained; choose one of {known}", words)
        return given

    @field_validator("recipe")
    @classmethod
    def _known(cls, given: str | None, info: ValidationInfo) -> str | None:
        """The recipe's name, the default's where none is given."""
        if "kind" not in info.data:
            return given
        recipes = trainable()[info.data["kind"]].recipes
        if given is not None and given not in recipes:
            words = {"known": ", ".join(recipes)}
            raise PydanticCustomError("recipe", "This kind has no such recipe; choose one of {known}", words)
        return given or next(iter(recipes))

    @field_validator("overrides")
    @classmethod
    def _fit_the_recipe(cls, given: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """An error of the recipe's own schema points at the setting concerned."""
        if info.data.get("recipe") is not None and "kind" in info.data:
            checked(trainable()[info.data["kind"]].recipes[info.data["recipe"]], given)
        return given

    def settings(self) -> Recipe:
        """The recipe with its overrides."""
        assert self.recipe is not None
        return checked(trainable()[self.kind].recipes[self.recipe], self.overrides)

    def again(self, original: Mapping[str, Any] | None) -> TrainingParams:
        """With every setting as the job with this provenance had it, so that a recipe's new defaults change nothing.

        Raises `OtherRelease` where the recipe does not take them any more.
        """
        recorded = (original or {}).get("recipe")
        if original is None or recorded is None:
            return self
        full = self.model_copy(update={"overrides": recorded["settings"]})
        try:
            full.settings()
        except PydanticCustomError as error:
            release = original.get("code_version", "that made it")
            detail = f"The recipe {self.recipe} has changed ({error.message()}); run it with the release {release}."
            raise OtherRelease(detail) from None
        return full

    def makes(self) -> tuple[str, str]:
        """Name and kind of the model of which a version will be registered."""
        return self.name or self.dataset, self.kind

    def check_references(self, datasets: Mapping[str, Any], versions: Mapping[str, Any]) -> list[tuple[str, str]]:
        """(field, what is wrong) where the data set or the parent is of a sort that kind or recipe cannot take.

        `datasets`: field -> the data set's result item; `versions`: field -> what has `.kind`.
        """
        wrong: list[tuple[str, str]] = []
        item, parent = datasets.get("dataset"), versions.get("parent")
        formats = trainable()[self.kind].formats
        if item is not None and FORMS.get(item["format"]) not in formats:
            wrong.append(
                ("dataset", f"This kind is trained on {' or '.join(formats)}; this data set is of another form.")
            )
        elif item is not None and (detail := self.settings().misfit(item.get("facts") or {})):
            wrong.append(("dataset", detail))
        if parent is not None and parent.kind != self.kind:
            wrong.append(("parent", f"A parent must be a model of the kind {self.kind}."))
        generator = versions.get("augment_with")
        drawn_for = self.kind != "synthesis" and "images" in formats
        if generator is not None and not (generator.kind == "synthesis" and drawn_for):
            what = "Virtual images join the training of a diagnosis, and only a model of the kind synthesis draws them."
            wrong.append(("augment_with", what))
        return wrong


class Made(BaseModel):
    """The version that was registered."""

    name: str
    version: int


class Curve(BaseModel):
    """One curve; its points are in curves.json."""

    points: int
    last: float


class TrainingItem(BaseModel):
    """The one entry of the result."""

    version: Made | None = Field(default=None, description="Where it is registered.")
    existing: bool = Field(default=False, description="The very same files were registered before, as this version.")
    metrics: dict[str, Any] = Field(description="By part; each figure of the test part with its 95 % interval.")
    baseline: dict[str, Any] = Field(description="The simple baseline on the same split.")
    beats_baseline: bool | None = Field(description="null where nothing could be compared.")
    seeds: list[int]
    seed: int = Field(description="Of the job: every random choice follows from it.")
    recipe: dict[str, Any] = Field(description="Name, and settings with every default.")
    plan: dict[str, Any] = Field(description="Steps of every network, settled before the first; a rerun takes it over.")
    curves: dict[str, Curve]
    weights_sha256: str | None


KIND = Kind(
    name="training",
    summary="A data set and a recipe to a new version of a model, with its figures beside a simple baseline.",
    params=TrainingParams,
    item=TrainingItem,
    files=False,
    min_inputs=0,
    max_inputs=0,
    pool="long",
    runner="models.training.run:run",
    report="models.training.report:render",
    timeout_s=MOST_MINUTES * 60 + DAY_S,
)
