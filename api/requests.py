"""Bodies that change data sets and models."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.naming import Name

MOST_FILES = 1000

NewFile = Literal["weights.safetensors", "model.pt2", "cases.npz"]
DottedName = Annotated[str, StringConstraints(max_length=200, pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")]


class NewDataset(BaseModel):
    """Uploaded files that are to become a data set."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    name: Name = Field(description="Yours: another caller may use the same name.")
    format: str = Field(max_length=100, description="A format of docs/data-sets.md.", examples=["medmnist"])
    files: list[str] = Field(min_length=1, max_length=MOST_FILES, description="File ids, in the format's order.")
    options: dict[str, Any] = Field(default={}, description="The format's options; see docs/data-sets.md.")


class NewModel(BaseModel):
    """Weights of one's own, as the next version of a model."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)

    name: Name
    kind: str = Field(max_length=100, description="A kind with a `contract`; see `GET /v1/kinds/{kind}`.")
    files: dict[NewFile, str] = Field(description="`weights.safetensors` or `model.pt2`, and `cases.npz` if at hand.")
    network: DottedName | None = Field(
        default=None,
        description="`package.module:function` that builds the network for weights; an exported program needs none.",
    )
    contract: dict[str, Any] = Field(description="What the model takes and answers, in the kind's `contract` schema.")
    card: dict[str, Any] = Field(default={}, description="Who should use it for what; `summary` is shown in lists.")


class AliasMove(BaseModel):
    """What an alias is to mean."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    version: int = Field(ge=1)
    reason: str | None = Field(default=None, max_length=500, description="Kept in the history.")
    force: bool = Field(default=False, description="Though the gate says no: admin, with a reason.")


class Gate(BaseModel):
    """What a version must pass before `production` moves to it."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)

    metric: Literal["auc", "auprc", "accuracy", "brier", "min_se_pp", "c_index", "rmse", "mae", "r2", "spearman"]
    margin: float = Field(default=0.0, ge=0, description="What the lower end of the gain's interval may lose.")
    subgroups: bool = Field(default=False, description="Whether no subgroup of 30 cases or more may get worse.")
    subgroup_margin: float = Field(default=0.05, ge=0, description="What a subgroup may lose.")
