"""How screening models are trained: each recipe's settings. `blend` is the default; its parts can be trained alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from jobs.kinds import Recipe

Part = Literal["smiles-lstm", "d-mpnn", "boosting", "ecfp-boosting"]
"""What a screening model is made of; each is trained once per seed."""


class NetworkSettings(Recipe):
    """What both networks share. The weights that are kept are those of the epoch that validated best."""

    dropout: float = Field(default=0.3, ge=0, lt=1)
    epochs: int = Field(default=30, ge=1, le=500)
    batch: int = Field(default=64, ge=8, le=4096)
    learning_rate: float = Field(default=1e-3, gt=0, le=0.1)
    weight_decay: float = Field(default=0.01, ge=0, le=10)
    ema: float = Field(default=0.98, ge=0, lt=1, description="Decay of the averaged weights; 0: the last step's.")


class LstmSettings(NetworkSettings):
    """The SMILES LSTM: every epoch reads each molecule from another atom on."""

    layers: int = Field(default=2, ge=1, le=4)
    hidden: int = Field(default=128, ge=8, le=1024, description="Units in each direction.")
    embedding: int = Field(default=32, ge=4, le=512)
    learning_rate: float = Field(default=2e-3, gt=0, le=0.1)
    views: int = Field(default=10, ge=1, le=100, description="Spellings of a molecule that an answer averages.")


class MpnnSettings(NetworkSettings):
    """The directed message passing network."""

    hidden: int = Field(default=200, ge=8, le=2400)
    steps: int = Field(default=3, ge=2, le=8, description="Bonds over which a message travels.")
    descriptors: bool = Field(default=True, description="RDKit's numbers of the whole molecule beside its atoms' mean.")
    dropout: float = Field(default=0.1, ge=0, lt=1)
    learning_rate: float = Field(default=2e-3, gt=0, le=0.1)


class BoostingSettings(Recipe):
    """LightGBM's, on Morgan counts and descriptors."""

    rounds: int = Field(default=200, ge=10, le=5000)
    learning_rate: float = Field(default=0.05, gt=0, le=1)
    leaves: int = Field(default=15, ge=2, le=256)
    least_in_leaf: int = Field(default=10, ge=1)
    feature_share: float = Field(default=0.2, gt=0, le=1)
    row_share: float = Field(default=0.7, gt=0, le=1)
    l2: float = Field(default=5.0, ge=0)


class EcfpSettings(BoostingSettings):
    """LightGBM's, on Morgan bits alone: the simple baseline beside every version, and a part of the blend."""


class ScreeningRecipe(Recipe):
    """What all of them share."""

    seeds: int = Field(default=3, ge=1, le=10, description="Each part is trained so often; all stand in the version.")

    @property
    def parts(self) -> Mapping[Part, Recipe]:
        """The settings of each part."""
        raise NotImplementedError


class Blend(ScreeningRecipe):
    """Both networks and both sorts of trees, weighed on the validation part; what gets no weight is not kept."""

    lstm: LstmSettings = LstmSettings()
    mpnn: MpnnSettings = MpnnSettings()
    boosting: BoostingSettings = BoostingSettings()
    ecfp: EcfpSettings = EcfpSettings()

    @property
    def parts(self) -> Mapping[Part, Recipe]:
        """All four."""
        return {
            "smiles-lstm": self.lstm,
            "d-mpnn": self.mpnn,
            "boosting": self.boosting,
            "ecfp-boosting": self.ecfp,
        }


class TreesAlone(ScreeningRecipe):
    """Both sorts of trees, weighed on the validation part: seconds where the networks take an hour."""

    boosting: BoostingSettings = BoostingSettings()
    ecfp: EcfpSettings = EcfpSettings()

    @property
    def parts(self) -> Mapping[Part, Recipe]:
        """The two."""
        return {"boosting": self.boosting, "ecfp-boosting": self.ecfp}


class SmilesLstm(LstmSettings, ScreeningRecipe):
    """The recurrent network over SMILES alone."""

    @property
    def parts(self) -> Mapping[Part, Recipe]:
        """The network."""
        return {"smiles-lstm": self}


class Dmpnn(MpnnSettings, ScreeningRecipe):
    """The message passing network alone (Yang et al. 2019)."""

    @property
    def parts(self) -> Mapping[Part, Recipe]:
        """The network."""
        return {"d-mpnn": self}


class Boosting(BoostingSettings, ScreeningRecipe):
    """Gradient boosting alone: quick, and often as good."""

    @property
    def parts(self) -> Mapping[Part, Recipe]:
        """The trees."""
        return {"boosting": self}


RECIPES: Mapping[str, type[ScreeningRecipe]] = {
    "blend": Blend,
    "smiles-lstm": SmilesLstm,
    "d-mpnn": Dmpnn,
    "trees": TreesAlone,
    "boosting": Boosting,
}
"""By name; the first is the kind's default."""
