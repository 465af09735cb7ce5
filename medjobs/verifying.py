"""A result against the result of the same job run again: identical, or what differs and why that may be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PASSING = frozenset({"attempt", "worker", "finished_at", "timings"})
"""Provenance that differs from run to run by its nature."""

REGISTERED_ALREADY = "existing"
"""What the item of a training says where its version was there before: of a second run it is true by its nature."""

CIRCUMSTANCES = ("device", "threads", "libraries", "instruction_set", "resumed_elsewhere")
"""Where one of these differs, the last bits of numbers may."""


@dataclass(frozen=True)
class Unlike:
    """One place where two results differ; `first` and `second` are None where that run has nothing there."""

    place: str
    first: Any
    second: Any


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Unlike]:
    """Every place where the results' items, models or provenance differ; what changes with each run is left out."""
    return [
        *_between("model", first.get("model"), second.get("model")),
        *_between("items", _items(first), _items(second)),
        *_between("provenance", _lasting(first), _lasting(second)),
    ]


def largest(found: Sequence[Unlike]) -> float | None:
    """The largest difference of two numbers in the items; None where no number differs."""
    gaps = [
        abs(float(one.first) - float(one.second))
        for one in found
        if one.place.startswith("items") and _number(one.first) and _number(one.second)
    ]
    return max(gaps, default=None)


def same_circumstances(found: Sequence[Unlike]) -> bool:
    """Whether device, threads and libraries were the same, so that every number ought to be."""
    return not any(one.place.startswith(f"provenance.{name}") for one in found for name in CIRCUMSTANCES)


def _items(result: Mapping[str, Any]) -> list[Any]:
    return [{name: value for name, value in item.items() if name != REGISTERED_ALREADY} for item in result["items"]]


def _lasting(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result["provenance"].items() if name not in PASSING}


def _between(place: str, first: Any, second: Any) -> Iterator[Unlike]:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for name in sorted({*first, *second}):
            yield from _between(f"{place}.{name}", first.get(name), second.get(name))
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for position, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from _between(f"{place}[{position}]", one, other)
    elif not _equal(first, second):
        yield Unlike(place, first, second)


def _equal(first: Any, second: Any) -> bool:
    if _number(first) and _number(second):
        return bool(first == second or (math.isnan(first) and math.isnan(second)))
    return type(first) is type(second) and bool(first == second)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
