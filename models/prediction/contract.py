"""What a prediction model takes and says: the `contract` of its manifest, read once. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Limits:
    """A variable or static value and its limits; `unit` is None where it has none.

    `natural`: beyond the limits lies what no patient has, a slip or a line that came off. Such values were left out of
    the training and are left out here. Else the limits are wide ones around the training's values, and what lies beyond
    is taken as the nearest: it may be true, and more extreme than all that was seen.
    """

    name: str
    low: float
    high: float
    unit: str | None = None
    natural: bool = False


@dataclass(frozen=True)
class Contract:
    """Times are in `unit`; what is measured after `horizon` is not read (None: there is no such end).

    `outcome` is one event by the end of what the data set calls its course ("binary", then `horizons` may be empty),
    or an event at an unknown time ("survival", `horizons` in `unit` after the last measurement).
    """

    unit: str
    horizon: float | None
    variables: tuple[Limits, ...]
    statics: tuple[Limits, ...]
    kind: str
    outcome: str
    horizons: tuple[float, ...]
    course: Mapping[str, Any] | None

    @classmethod
    def read(cls, contract: Mapping[str, Any]) -> Contract:
        """The `contract` of a manifest; raises KeyError for a part that is not there."""
        outcome, horizon = contract["outcome"], contract.get("horizon")
        return cls(
            unit=str(contract["unit"]),
            horizon=None if horizon is None else float(horizon),
            variables=tuple(_limits(one) for one in contract["variables"]),
            statics=tuple(_limits(one) for one in contract["statics"]),
            kind=str(outcome["kind"]),
            outcome=str(outcome["name"]),
            horizons=tuple(float(one) for one in outcome.get("horizons") or ()),
            course=contract.get("course"),
        )

    @cached_property
    def variable(self) -> Mapping[str, Limits]:
        """The variables by name."""
        return {one.name: one for one in self.variables}

    @cached_property
    def ranges(self) -> Mapping[str, tuple[float, float]]:
        """The limits of the variables by name, least and largest."""
        return {one.name: (one.low, one.high) for one in self.variables}

    @cached_property
    def static(self) -> Mapping[str, Limits]:
        """The static values by name."""
        return {one.name: one for one in self.statics}


def _limits(one: Mapping[str, Any]) -> Limits:
    return Limits(str(one["name"]), float(one["low"]), float(one["high"]), one.get("unit"), bool(one.get("natural")))
