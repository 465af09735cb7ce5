"""The screening kind: its parameters, its input and its result, as http-api.md gives them. No torch, no RDKit."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from jobs.kinds import Kind, Params
from models.screening.recipes import RECIPES

MOST_LINES = 1_000_000
"""Molecules of one job, over all its inputs."""

DAY_S = 86_400.0


class ScreeningParams(Params):
    """What a caller may choose."""

    top: int = Field(default=100, ge=1, le=10_000, description="Molecules that stand in the result; the table has all.")
    target: str | None = Field(
        default=None,
        max_length=200,
        description="Target of the model to rank by; null: the mean over all, which numbers of several do not have.",
    )
    order: Literal["highest", "lowest"] = Field(
        default="highest", description="Which answer ranks first: the lowest, say, where the target is toxicity."
    )
    explain: bool = Field(default=True, description="Weigh the atoms of the first molecules by hiding each in turn.")
    pictures: int = Field(
        default=12, ge=0, le=100, description="How many of the first molecules are explained and drawn."
    )
    format: Literal["csv", "smi", "sdf"] | None = Field(
        default=None, description="Of the files; null: each file's own first lines tell."
    )
    column: str | None = Field(
        default=None, max_length=200, description="Column of a CSV that holds the SMILES; null: `smiles` or `mol`."
    )


class MoleculeData(BaseModel):
    """One molecule."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    smiles: str = Field(max_length=100_000)


class Score(BaseModel):
    """The calibrated probability of one target. `spread`: weighted standard deviation of the ensemble's members."""

    target: str
    probability: float = Field(ge=0, le=1)
    spread: float = Field(ge=0)


class Estimate(BaseModel):
    """A number of one target, in its unit, as are `spread`, the weighted standard deviation of the ensemble's members,
    and `low` to `high`, which held nine of ten molecules of the validation part; null where it was too small for it."""

    target: str
    value: float
    unit: str | None
    spread: float = Field(ge=0)
    low: float | None
    high: float | None


class Applicability(BaseModel):
    """How near the model's training molecules are: Tanimoto similarity of Morgan fingerprints, 0 to 1."""

    nearest_tanimoto: float = Field(ge=0, le=1)
    in_domain: bool


class Alerts(BaseModel):
    """What RDKit's catalogues find. Columns to sort by, not verdicts."""

    pains: list[str] = Field(description="Names of pan-assay interference patterns (Baell and Holloway 2010).")
    lipinski_violations: int = Field(ge=0, le=4, description="Of Lipinski's four rules (1997).")


class ScreeningItem(BaseModel):
    """One molecule of the result, in the order of rank. Lines that failed follow, each with its error."""

    rank: int = Field(ge=1)
    smiles: str = Field(description="Canonical, of the largest fragment.")
    name: str | None = Field(description="As the file has it: the second word of an SMI line, the title in an SDF.")
    input: int = Field(description="Position of the job's input that it first stands in, from 0.")
    line: int = Field(description="Its line (or record of an SDF) there, from 1.")
    scores: list[Score | Estimate]
    applicability: Applicability
    alerts: Alerts
    salts_stripped: bool
    copies: int = Field(ge=1, description="Lines that hold this molecule.")
    atom_weights: list[float] | None = Field(
        default=None,
        description="Per heavy atom in the order of `smiles`: what the log odds of the ranked target, or its number, "
        "lose when the atom is hidden. Evidence for the model's output, not a cause.",
    )


KIND = Kind(
    name="screening",
    summary="Molecules to a ranked table of probabilities or numbers, with spread, nearness and atom contributions.",
    params=ScreeningParams,
    item=ScreeningItem,
    data=MoleculeData,
    pool="long",
    runner="models.screening.screen:run",
    report="models.screening.report:render",
    default_model="blood-brain-barrier",
    shipped=Path(__file__).parent.parent / "shipped",
    timeout_s=DAY_S,
    trainer="models.screening.trainer:train",
    recipes=RECIPES,
    formats=("molecules",),
)
