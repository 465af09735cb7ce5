"""The gate: limits that are declared before anything is measured, and which figure of a generator fails them.

Export is refused where the gate fails. A figure that was not measured fails as well: nobody passes by not looking.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from models.synthesis.membership import Attack
from models.synthesis.privacy import Privacy


class Limits(BaseModel):
    """What a generator must reach; null: not asked for. The attacks are those of models/synthesis/privacy.py.

    An attack at chance has an area of 0.5 and finds 1 % of the members at 1 % false alarms. With 250 members, chance
    alone moves the area by 0.05 and the share to 0.04; the limits lie just above that.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    coverage: float | None = Field(default=0.6, ge=0, le=1, description="Least coverage, on the named features.")
    drop: float | None = Field(default=0.05, ge=-1, le=1, description="Most that TRTR may be above TSTR, in AUC.")
    attack_auc: float = Field(default=0.6, ge=0.5, le=1, description="Largest area of any membership attack.")
    attack_tpr: float = Field(default=0.06, ge=0, le=1, description="Most members that any attack finds at 1 % FPR.")


@dataclass(frozen=True)
class Check:
    """One figure against its limit; `value` is None where it was not measured."""

    figure: str
    value: float | None
    limit: float
    at_least: bool

    @property
    def passed(self) -> bool:
        """Whether the figure keeps its limit."""
        if self.value is None:
            return False
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        value = "not measured" if self.value is None else f"{self.value:.3f}"
        return f"{self.figure} is {value}; {'at least' if self.at_least else 'at most'} {self.limit:g} is asked for"


@dataclass(frozen=True)
class Verdict:
    """The outcome: every check that was made."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether all of them passed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that did not."""
        return tuple(check for check in self.checks if not check.passed)

    def as_dict(self) -> dict[str, Any]:
        """As a manifest keeps it: `passed`, `checks` and `failures` in words."""
        checks = [{**asdict(check), "passed": check.passed} for check in self.checks]
        return {"passed": self.passed, "checks": checks, "failures": [str(check) for check in self.failures]}


def judge(limits: Limits, coverage: float | None, drop: float | None, privacy: Privacy | None) -> Verdict:
    """Hold the figures against the limits; None stands for a figure that was not measured."""
    checks: list[Check] = []
    if limits.coverage is not None:
        checks.append(Check("coverage", coverage, limits.coverage, at_least=True))
    if limits.drop is not None:
        checks.append(Check("TRTR - TSTR", drop, limits.drop, at_least=False))
    if privacy is None:
        checks.append(Check("membership AUC", None, limits.attack_auc, at_least=False))
        return Verdict(tuple(checks))
    for name, one in privacy.attacks.items():
        checks.append(Check(f"membership AUC ({name})", one.auc.value, limits.attack_auc, at_least=False))
        checks.append(Check(f"members found at 1 % FPR ({name})", one.tpr_at_1_fpr.value, limits.attack_tpr, False))
    # An attack that does not catch a memoriser says nothing where it finds nothing.
    caught = sum(caught_by(one, limits) for one in privacy.control.values())
    checks.append(Check("attacks that catch the memoriser", float(caught), float(len(privacy.control)), at_least=True))
    return Verdict(tuple(checks))


def caught_by(attack: Attack, limits: Limits) -> bool:
    """Whether a generator on which the attack has these figures would be refused for them."""
    return attack.auc.value > limits.attack_auc or attack.tpr_at_1_fpr.value > limits.attack_tpr
