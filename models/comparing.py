"""Two versions of a model on the same cases: the difference of each figure with its interval, and the promotion gate.

The difference is always "second against first", b - a. Both versions answered the same test cases, so each resample
draws cases and takes both versions' answers to them (paired bootstrap): what makes a case hard for both cancels out. Of
patients with several cases, patients are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from models.cases import LOWER_IS_BETTER, BadCases, Cases, Floats, threshold_of

RESAMPLES, LEAST_RESAMPLES = 2000, 200
MOST_DRAWN = 20_000_000
"""Cases drawn in all resamples of one comparison: above 10,000 cases there are fewer resamples, at least 200, because a
caller waits for the answer."""

LEAST_SUBGROUP = 30
"""Cases below which a subgroup is named but not judged: chance alone moves its figures too far."""

AT_ONCE = 4_000_000
"""Numbers in one table of weights: 32 MB."""


class NotComparable(ValueError):
    """The two versions cannot be compared; the text says why and what to do."""


class Version(NamedTuple):
    """A version as the registry keeps it: its manifest, and the bytes of its cases.npz (None where it has none)."""

    manifest: Mapping[str, Any]
    cases: bytes | None


@dataclass(frozen=True)
class Difference:
    """One figure of both versions; `difference` = b - a with its 95 % interval `low` to `high`."""

    figure: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    higher_is_better: bool = True

    def gain(self) -> tuple[float, float]:
        """(difference, lower bound), turned so that more is better."""
        return (self.difference, self.low) if self.higher_is_better else (-self.difference, -self.high)


@dataclass(frozen=True)
class Subgroup:
    """The differences in one subgroup, such as "Sex=F"; empty where it has too few cases to be judged."""

    name: str
    n: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Comparison:
    """Every figure of two versions over the same `n` cases, and in each subgroup."""

    n: int
    differences: tuple[Difference, ...]
    subgroups: tuple[Subgroup, ...]

    def of(self, figure: str) -> Difference | None:
        """The difference of that figure; None where this outcome has no such figure."""
        return next((one for one in self.differences if one.figure == figure), None)

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate passes the gate; `reasons` say why not, or what could not be judged."""

    passed: bool
    figures: Mapping[str, Any]
    reasons: tuple[str, ...]


def compare(a: Version, b: Version) -> Comparison:
    """b against a; raises `NotComparable` unless both were tested on the same cases of the same data."""
    return _compared(*_same_cases(a, b), b.manifest)


def _compared(first: Cases, second: Cases, manifest: Mapping[str, Any]) -> Comparison:
    subgroups = []
    for variable in sorted(set(first.groups) & set(second.groups)):
        codes = first.groups[variable]
        for code in np.unique(codes).tolist():
            chosen = codes == code
            judged = _differences(first.where(chosen), second.where(chosen)) if chosen.sum() >= LEAST_SUBGROUP else ()
            subgroups.append(Subgroup(_group_name(manifest, variable, code), int(chosen.sum()), judged))
    return Comparison(len(first), _differences(first, second), tuple(subgroups))


def gate(rule: Mapping[str, Any], candidate: Version, production: Version) -> Verdict:
    """Whether `candidate` may take the place of `production` under the `rule` that the model declares.

    Passed where the lower bound of the gain in `rule["metric"]` is at least -`margin`, and, with `subgroups`, no
    subgroup of 30 cases or more is worse by more than `subgroup_margin`. What cannot be compared has not passed: with
    `subgroups` the candidate needs every subgroup variable that production has, and one subgroup must be large enough.
    """
    try:
        first, second = _same_cases(production, candidate)
    except NotComparable as error:
        return Verdict(False, {}, (str(error),))
    found = _compared(first, second, candidate.manifest)
    difference = found.of(rule["metric"])
    if difference is None:
        return Verdict(False, found.as_dict(), (f"These versions have no figure {rule['metric']}.",))
    margin = float(rule.get("margin", 0.0))
    failed = []
    gain, low = difference.gain()
    if low < -margin:
        failed.append(
            f"{difference.figure}: the candidate's gain is {gain:+.4f}, and its 95 % interval begins at {low:+.4f}; "
            f"the gate asks for {-margin:+.4f} or more."
        )
    unjudged = []
    if rule.get("subgroups"):
        allowed = float(rule.get("subgroup_margin", 0.05))
        failed += _unjudgeable(first, second, found, rule["metric"])
        failed += _worse_subgroups(found, rule["metric"], allowed)
        small = [f"{group.name} (n = {group.n})" for group in found.subgroups if not _judged(group, rule["metric"])]
        unjudged = [f"Not judged, too few cases or one outcome only: {', '.join(small)}."] if small else []
    return Verdict(not failed, found.as_dict(), tuple(failed + unjudged))


def _unjudgeable(production: Cases, candidate: Cases, found: Comparison, figure: str) -> list[str]:
    """Why the subgroups cannot be judged: leaving them out must not be a way through the gate."""
    lacking = sorted(set(production.groups) - set(candidate.groups))
    if lacking:
        return [f"The candidate's cases lack the subgroups that production's have: {', '.join(lacking)}."]
    if not any(_judged(group, figure) for group in found.subgroups):
        return ["The gate asks for subgroups, and none of these versions' could be judged."]
    return []


def _worse_subgroups(found: Comparison, figure: str, allowed: float) -> list[str]:
    judged = [(group, _judged(group, figure)) for group in found.subgroups]
    return [
        f"{figure} in {group.name} (n = {group.n}): the candidate is worse by {-one.gain()[0]:.4f}; "
        f"the gate allows {allowed:.4f}."
        for group, one in judged
        if one is not None and one.gain()[0] < -allowed
    ]


def _judged(group: Subgroup, figure: str) -> Difference | None:
    return next((one for one in group.differences if one.figure == figure), None)


def _same_cases(a: Version, b: Version) -> tuple[Cases, Cases]:
    """The cases of both in one order."""
    if a.manifest.get("kind") != b.manifest.get("kind"):
        raise NotComparable("The two versions are of different kinds; name two of one kind.")
    prints = [(version.manifest.get("data") or {}).get("fingerprint") for version in (a, b)]
    if None in prints or prints[0] != prints[1]:
        raise NotComparable(
            "The two versions were not tested on the same data (their data fingerprints differ); "
            "train one of them again on the other's data set."
        )
    first, second = _read(a), _read(b)
    if first.sort != second.sort or not np.array_equal(first.key, second.key):
        raise NotComparable("The two versions were tested on different cases; train both on the same data set.")
    if not all(np.array_equal(x, y) for x, y in zip(first.truth, second.truth, strict=True)):
        raise NotComparable("The two versions were tested against different outcomes; train both for the same one.")
    return first, second


def _read(version: Version) -> Cases:
    if version.cases is None:
        raise NotComparable(
            "A version has no cases.npz, so that only the figures on its card are known; train it here, or add it with "
            "its test cases."
        )
    try:
        return Cases.read(version.cases, threshold_of(version.manifest))
    except BadCases as error:
        raise NotComparable(f"A version's test cases cannot be used: {error}") from error


def _differences(a: Cases, b: Cases) -> tuple[Difference, ...]:
    """Every figure that both have; one that is undefined here (a subgroup with one outcome) is left out."""
    names = [name for name in a.figures if not math.isnan(a.figure(name)[0] + b.figure(name)[0])]
    gathered: dict[str, list[Floats]] = {name: [] for name in names}
    random = np.random.default_rng(0)
    at_once = max(1, AT_ONCE // max(1, len(a)))
    count = max(LEAST_RESAMPLES, min(RESAMPLES, MOST_DRAWN // max(1, len(a))))
    for start in range(0, count, at_once):
        weights = a.resamples(random, min(at_once, count - start))
        for name in names:
            gathered[name].append(b.figure(name, weights) - a.figure(name, weights))
    return tuple(_difference(name, a, b, np.concatenate(gathered[name])) for name in names)


def _difference(name: str, a: Cases, b: Cases, drawn: Floats) -> Difference:
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    first, second = float(a.figure(name)[0]), float(b.figure(name)[0])
    a_value, b_value, difference, low, high = (round(float(x), 6) for x in (first, second, second - first, low, high))
    return Difference(name, a_value, b_value, difference, low, high, name not in LOWER_IS_BETTER)


def _group_name(manifest: Mapping[str, Any], variable: str, code: int) -> str:
    """`Sex=F`, from the manifest's `groups: {"Sex": ["F", "M"]}`; below 0 is unknown, a code without a name itself."""
    if code < 0:
        return f"{variable}=unknown"
    names = (manifest.get("groups") or {}).get(variable) or []
    return f"{variable}={names[code] if code < len(names) else code}"
