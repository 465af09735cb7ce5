"""How prediction models are trained: each recipe's settings, with the defaults that inner folds chose.

Binary outcomes: `stack` (the default), its parts `gru-d`, `bilstm` and `boosting` alone, and the plain `lstm-basic`.
Survival outcomes: `discrete-time-survival` and its plain form, `linear-survival`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from jobs.kinds import Recipe

Part = Literal["gru-d", "bilstm", "boosting", "lstm-basic"]
"""What a model for a binary outcome is made of; each is trained once per inner fold."""


class SequenceRecipe(Recipe):
    """What all of them share."""

    folds: int = Field(default=5, ge=2, le=10, description="Inner folds of training and validation part: the members.")

    def misfit(self, facts: Mapping[str, Any]) -> str | None:
        """Refuse an outcome of the other sort, save to the default recipe as it is: `trainer.fitting` replaces that."""
        timed = (facts.get("outcome") or {}).get("kind") == "survival"
        if isinstance(self, SurvivalRecipe) == timed or "outcome" not in facts or self == Stack():
            return None
        wanted = ", ".join(name for name, known in RECIPES.items() if issubclass(known, SurvivalRecipe) == timed)
        sort = "an event at an unknown time" if timed else "yes or no"
        name = next(name for name, known in RECIPES.items() if type(self) is known)
        return f"The recipe {name} is not for this data set, whose outcome is {sort}: take {wanted}."


class BinaryRecipe(SequenceRecipe):
    """For an outcome of yes or no: time is cut into bins of equal width."""

    bins: int = Field(default=24, ge=4, le=256, description="Bins from 0 to the horizon; of 48 hours, 2 hours each.")
    horizon: float | None = Field(default=None, gt=0, description="End of what is read; null: the last time observed.")

    @property
    def parts(self) -> Mapping[Part, Recipe]:
        """The settings of each part."""
        raise NotImplementedError


class NetworkSettings(Recipe):
    """A recurrent network. `thinning` leaves out variables and bins at random, so that none is leant on."""

    hidden: int = Field(default=48, ge=4, le=256)
    dropout: float = Field(default=0.4, ge=0, lt=1)
    input_dropout: float = Field(default=0.3, ge=0, lt=1)
    thinning: float = Field(default=0.3, ge=0, lt=1)
    epochs: int = Field(default=12, ge=1, le=200)
    batch: int = Field(default=64, ge=8, le=4096)
    learning_rate: float = Field(default=2e-3, gt=0, le=0.1)
    weight_decay: float = Field(default=0.1, ge=0, le=10)
    ema: float = Field(default=0.99, ge=0, lt=1, description="Decay per step of the averaged weights; 0: none.")


class BiLstmSettings(NetworkSettings):
    """The bidirectional LSTM's: slower, for it learns by heart sooner."""

    dropout: float = Field(default=0.5, ge=0, lt=1)
    epochs: int = Field(default=14, ge=1, le=200)
    learning_rate: float = Field(default=1e-3, gt=0, le=0.1)


class BoostingSettings(Recipe):
    """LightGBM's. Small trees, each on a fifth of the features, of which many say nearly the same."""

    rounds: int = Field(default=400, ge=10, le=5000)
    learning_rate: float = Field(default=0.04, gt=0, le=1)
    leaves: int = Field(default=8, ge=2, le=64)
    least_in_leaf: int = Field(default=40, ge=1)
    feature_share: float = Field(default=0.2, gt=0, le=1)
    row_share: float = Field(default=0.7, gt=0, le=1)
    l2: float = Field(default=5.0, ge=0)


class Stack(BinaryRecipe):
    """GRU-D, bidirectional LSTM and boosting, weighed by a logistic regression on what none of them had seen."""

    gru_d: NetworkSettings = NetworkSettings()
    bilstm: BiLstmSettings = BiLstmSettings()
    boosting: BoostingSettings = BoostingSettings()

    @property
    def parts(self) -> Mapping[Part, Recipe]:
        """All three."""
        return {"gru-d": self.gru_d, "bilstm": self.bilstm, "boosting": self.boosting}


class GruD(NetworkSettings, BinaryRecipe):
    """GRU-D alone (Che et al. 2018)."""

    @property
    def parts(self) -> Mapping[Part, Recipe]:
        """The network."""
        return {"gru-d": self}


class BiLstm(BiLstmSettings, BinaryRecipe):
    """The bidirectional LSTM alone."""

    @property
    def parts(self) -> Mapping[Part, Recipe]:
        """The network."""
        return {"bilstm": self}


class Boosting(BoostingSettings, BinaryRecipe):
    """Gradient boosting alone: the honest bar."""

    @property
    def parts(self) -> Mapping[Part, Recipe]:
        """The trees."""
        return {"boosting": self}


class LstmBasic(BinaryRecipe):
    """The plain one: LSTM of 64, dense layer of 1, sigmoid; Adam, binary cross-entropy."""

    epochs: int = Field(default=8, ge=1, le=200)
    batch: int = Field(default=64, ge=8, le=4096)
    learning_rate: float = Field(default=1e-3, gt=0, le=0.1)

    @property
    def parts(self) -> Mapping[Part, Recipe]:
        """The network."""
        return {"lstm-basic": self}


class SurvivalRecipe(SequenceRecipe):
    """For an event at an unknown time: each visit is a landmark, from which the hazards ahead are learnt."""

    intervals: int = Field(default=20, ge=4, le=100, description="Of equal width, to the 90 % quantile of follow-up.")
    visits: int = Field(default=64, ge=1, le=512, description="Most visits that are read; earlier ones are left out.")
    horizons: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        default=None, min_length=1, description="Where risks are given; null: from the data."
    )
    course: str | None = Field(
        default=None, description="Variable whose next value is told; null: the one that says most of the outcome."
    )
    epochs: int = Field(default=80, ge=1, le=2000, description="One step each where the set is smaller than a batch.")
    batch: int = Field(default=256, ge=8, le=4096)
    learning_rate: float = Field(default=5e-3, gt=0, le=0.1)
    shrink: float = Field(default=0.005, ge=0, description="Penalty on the linear weights.")

    def misfit(self, facts: Mapping[str, Any]) -> str | None:
        """Refuse a course of something that is not measured as well."""
        if self.course is not None and self.course not in facts.get("variables", (self.course,)):
            return "The recipe's course is not a variable of the data set: name one of them, or leave it out."
        return super().misfit(facts)


class LinearSurvival(SurvivalRecipe):
    """Discrete hazards that are linear in the last values: the plain baseline."""

    @property
    def hidden(self) -> int:
        """No recurrent part."""
        return 0


class DiscreteTimeSurvival(SurvivalRecipe):
    """Discrete hazards from the last values and a small GRU over the visits."""

    hidden: int = Field(default=16, ge=1, le=256)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    weight_decay: float = Field(default=0.3, ge=0, le=10)


RECIPES: Mapping[str, type[SequenceRecipe]] = {
    "stack": Stack,
    "gru-d": GruD,
    "bilstm": BiLstm,
    "boosting": Boosting,
    "lstm-basic": LstmBasic,
    "discrete-time-survival": DiscreteTimeSurvival,
    "linear-survival": LinearSurvival,
}
"""By name; the first is the kind's default for a binary outcome."""
