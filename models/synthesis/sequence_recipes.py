"""How the GAN of virtual patients is trained, typed. Imports no torch."""

from __future__ import annotations

from pydantic import Field

from jobs.kinds import Recipe
from models.synthesis.recipes import Card, Words


class SequenceGanRecipe(Recipe):
    """Settings of the recurrent conditional GAN. `epochs` count steps of either network over the training patients."""

    bins: int = Field(default=24, ge=4, le=96, description="Bins from 0 to the horizon; of 48 hours, 2 hours each.")
    horizon: float | None = Field(default=None, gt=0, description="End of what is drawn; null: the last time observed.")
    hidden: int = Field(default=64, ge=8, le=512)
    noise: int = Field(default=32, ge=2, le=512, description="Numbers that a patient is drawn from.")
    epochs: float = Field(default=40, gt=0, le=10_000)
    batch: int = Field(default=64, ge=8, le=4096, description="Patients per step, as many of each outcome.")
    learning_rate: float = Field(default=1e-3, gt=0, le=0.1, description="Of the generator, by Adam.")
    judge_rate: float = Field(default=2e-4, gt=0, le=0.1, description="Of the discriminator, by Adam.")
    discrepancy: float = Field(default=100.0, ge=0, description="Weight of the discrepancy beside the discriminator.")
    r1: float = Field(default=0.3, ge=0, description="Weight of the gradient penalty on real patients; 0: none.")
    r1_every: int = Field(default=8, ge=1, description="Turns of the discriminator between two penalties (lazy).")
    ema: float = Field(default=0.998, ge=0, lt=1, description="Decay of the generator's averaged weights per turn.")
    checked: int = Field(default=2000, ge=50, le=50_000, description="Patients that the figures are taken from.")
    judge_rounds: int = Field(default=200, ge=10, le=2000, description="Trees of the risk models of TSTR and TRTR.")

    summary: Words = ""
    card: Card = Card(
        intended_use="Research: virtual patients that stand in for a data set in tests, or enlarge a training set.",
        out_of_scope="Any clinical decision; any conclusion about a disease; passing for records of patients.",
        population="It draws patients like those of its training part, and nobody else; see the data set's card.",
        known_risks="A generator can repeat whom it was trained on, and leave out what is rare there. The figures "
        "measure both, with attacks that are known today; they are no proof of privacy. Measurements are placed at "
        "random within a bin, so nothing can be read from minutes.",
        human_oversight="Whoever mixes virtual with real patients keeps them marked, and tests on real ones alone.",
    )
