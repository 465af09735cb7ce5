"""One patient as the models take it, and the check of what a caller sent against a model's contract. No torch.

An error names the place and never the value or a name that the caller wrote: both may be a patient's.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from operator import gt
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from jobs.errors import InputError, LimitExceeded
from models.prediction.contract import Contract, Limits

MOST_OBSERVATIONS = 100_000
"""Measurements of one patient; a stay of 48 hours with 41 variables has about 440, the fullest of 4,000 has 1,502."""

FIELDS = ("time", "name", "value")


class Observation(NamedTuple):
    """One measurement: time in the contract's unit, the variable's name, its value."""

    time: float
    name: str
    value: float


@dataclass(frozen=True)
class Observations(Sequence[Observation]):
    """Measurements in order of time, kept as three columns of one length.

    A batch has hundreds of thousands of them. As an object each, they keep the garbage collector busy for longer than
    it takes to check them.
    """

    times: tuple[float, ...]
    names: tuple[str, ...]
    values: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[Observation]:
        return map(Observation, self.times, self.names, self.values)

    @overload
    def __getitem__(self, at: int) -> Observation: ...
    @overload
    def __getitem__(self, at: slice) -> Observations: ...
    def __getitem__(self, at: int | slice) -> Observation | Observations:
        if isinstance(at, slice):
            return Observations(self.times[at], self.names[at], self.values[at])
        return Observation(self.times[at], self.names[at], self.values[at])


@dataclass(frozen=True)
class Patient:
    """What is known of one patient: static values by name, measurements by time, and what a reader should know."""

    static: Mapping[str, float]
    observations: Sequence[Observation]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Columns:
    """The measurements of one patient of a table, in a twentieth of the room that they take as JSON.

    `time` and `value` (M,), sorted by time; `code` (M,) positions in `names`, which the patients of a table share;
    `row` (M,) lines of the table, from 1, the header not counted.
    """

    time: NDArray[np.float64]
    code: NDArray[np.uint32]
    value: NDArray[np.float64]
    row: NDArray[np.uint32]
    names: tuple[str, ...]


def parse(data: Any, contract: Contract) -> Patient:
    """Check `{"static": {...}, "observations": [...] or Columns}`, or its JSON as bytes; raises `InputError`.

    Measurements after the horizon are left out, exact repeats count once, and values beyond a limit are left out or
    taken as the nearest, as in training (see `contract.Limits`); each of these leaves a note.
    """
    if isinstance(data, bytes):
        data = read(data)
    if not isinstance(data, Mapping):
        raise InputError('A patient is a JSON object: {"static": {...}, "observations": [...]}.')
    if not data or not data.keys() <= {"static", "observations"}:
        raise InputError("A patient has the members static and observations and no others; name at least one of them.")
    notes: list[str] = []
    static = _static(data.get("static", {}), contract, notes)
    times, names, values = _columns(data.get("observations", []), contract)
    observations = _within(times, names, values, contract, notes)
    if not observations:
        notes.append("No measurement was sent that the model reads: the answer rests on the static values alone.")
    return Patient(static, observations, tuple(notes))


def read(text: bytes) -> Any:
    """Return what JSON says; raises `InputError` that names line and column."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"This is not JSON: line {error.lineno}, column {error.colno}.") from None
    except (ValueError, RecursionError):  # not UTF-8; an integer of thousands of digits; nested without end
        raise InputError(
            "This is not JSON of a patient: the text, a number or the nesting is beyond reading."
        ) from None


def _static(static: Any, contract: Contract, notes: list[str]) -> dict[str, float]:
    """Return the known static values; null stands for one that is not known, as does leaving it out."""
    if not isinstance(static, Mapping):
        raise _wrong("static", "is not an object of names and numbers")
    found: dict[str, float] = {}
    for position, (name, value) in enumerate(static.items(), start=1):
        limits = contract.static.get(name)
        if limits is None:
            if name in contract.variable:
                raise _wrong("static", f"holds the variable {name}: measurements need a time")
            what = (
                f"has an entry, number {position}, that the model does not know; it takes {_listed(contract.statics)}"
            )
            raise _wrong("static", what + _meant(name, contract.static))
        if value is None:
            continue
        place = f"static/{limits.name}"
        number = _number(value, place)
        if number < 0 <= limits.low:
            raise _wrong(place, "is negative; leave out what is not known")
        held = min(max(number, limits.low), limits.high)
        if held != number:
            notes.append(f"{limits.name}: outside {_range(limits)}, {_done(limits)}.")
        if held == number or not limits.natural:
            found[limits.name] = held
    return found


def _columns(observations: Any, contract: Contract) -> tuple[Sequence[float], Sequence[str], Sequence[float]]:
    """Return times, names and values, each checked; on the way of a good patient nothing is looked at one by one."""
    if isinstance(observations, Columns):
        names: Sequence[str] = [observations.names[code] for code in observations.code]
        times, values = observations.time.tolist(), observations.value.tolist()
    else:
        times, names, values = _members(observations)
    if len(times) > MOST_OBSERVATIONS:
        detail = f"A patient may have {MOST_OBSERVATIONS:,} measurements."
        raise LimitExceeded(detail, limit="observations", allowed=MOST_OBSERVATIONS)
    if not set(names) <= contract.variable.keys():
        position = _first(names, lambda name: name not in contract.variable)
        what = f"is not a variable of this model, which takes {_listed(contract.variables)}"
        raise _wrong(_place(observations, position, "name"), what + _meant(names[position], contract.variable))
    _finite(observations, times, "time")
    _finite(observations, values, "value")
    if times and min(times) < 0:
        raise _wrong(_place(observations, _first(times, lambda time: time < 0), "time"), "is negative")
    backwards = list(map(gt, times, times[1:]))
    if any(backwards):
        where = _place(observations, 1 + backwards.index(True), "time")
        raise _wrong(where, "is earlier than the one before it; send measurements in order of time")
    return times, names, values


def _members(observations: Any) -> tuple[Sequence[float], Sequence[str], Sequence[float]]:
    """Return the three columns of a JSON array of measurements whose members are there and of the right type."""
    if not isinstance(observations, list):
        raise _wrong("observations", "is not an array")
    if not observations:
        return (), (), ()
    if set(map(type, observations)) != {dict}:
        raise _wrong(f"observations/{_first(observations, lambda one: type(one) is not dict)}", "is not an object")
    try:
        # A list for each column makes three objects; a tuple for each measurement sets off the garbage collector.
        times, names, values = ([one[member] for one in observations] for member in FIELDS)
    except KeyError:
        position = _first(observations, lambda one: not one.keys() >= set(FIELDS))
        missing = next(name for name in FIELDS if name not in observations[position])
        raise _wrong(f"observations/{position}", f"has no {missing}") from None
    if set(map(len, observations)) != {len(FIELDS)}:
        position = _first(observations, lambda one: len(one) != len(FIELDS))
        raise _wrong(f"observations/{position}", f"has members other than {', '.join(FIELDS)}")
    if set(map(type, names)) != {str}:
        raise _wrong(f"observations/{_first(names, lambda name: type(name) is not str)}/name", "is not text")
    return times, names, values


def _within(
    times: Sequence[float], names: Sequence[str], values: Sequence[float], contract: Contract, notes: list[str]
) -> Observations:
    """Return the measurements up to the horizon, each once, within the limits."""
    every = Observations(tuple(map(float, times)), tuple(names), tuple(map(float, values)))
    if contract.horizon is not None:
        read = bisect_right(every.times, contract.horizon)
        if read < len(every):
            end = f"{contract.horizon:g} {contract.unit}"
            notes.append(f"{_counted(len(every) - read)} left out: after {end}, where the model stops reading.")
            every = every[:read]
    once = dict.fromkeys(zip(every.times, every.names, every.values, strict=True))
    if len(once) < len(every):
        notes.append(f"{_counted(len(every) - len(once))} counted once: sent more than once.")
        every = Observations(*zip(*once, strict=True))
    return _limited(every, contract, notes)


def _limited(every: Observations, contract: Contract, notes: list[str]) -> Observations:
    """Return the measurements without those that no patient has, others beyond a limit at the limit."""
    limits, ranges = contract.variable, contract.ranges
    held = tuple(
        value if low <= value <= high else min(max(value, low), high)
        for value, (low, high) in zip(every.values, map(ranges.__getitem__, every.names), strict=True)
    )
    if held == every.values:
        return every
    outside = Counter(name for name, one, other in zip(every.names, held, every.values, strict=True) if one != other)
    totals = Counter(every.names)
    for name, count in outside.items():
        # One value in three out of nature's range is rarely an artefact: more often the unit is another.
        check = " Check the unit." if count * 3 >= totals[name] else ""
        found = f"{count} of {totals[name]} values outside {_range(limits[name])}"
        notes.append(f"{name}: {found}, {_done(limits[name])}.{check}")
    kept = [
        (time, name, one)
        for time, name, one, sent in zip(every.times, every.names, held, every.values, strict=True)
        if one == sent or not limits[name].natural
    ]
    return Observations(*zip(*kept, strict=True)) if kept else Observations((), (), ())


def _done(limits: Limits) -> str:
    return "left out" if limits.natural else "taken as the nearest limit"


def _finite(observations: Any, numbers: Sequence[Any], member: str) -> None:
    """Raise `InputError` at the first that is no finite number."""
    if set(map(type, numbers)) <= {int, float}:
        try:
            if all(map(math.isfinite, numbers)):
                return
        except OverflowError:  # an integer beyond every float
            pass
    for position, number in enumerate(numbers):
        _number(number, _place(observations, position, member))


def _place(observations: Any, position: int, member: str) -> str:
    """Where a measurement stands in what was sent."""
    if isinstance(observations, Columns):
        return f"row {observations.row[position]}, column {member}"
    return f"observations/{position}/{member}"


def _number(value: Any, place: str) -> float:
    """Return a finite number as float; true and false are not numbers."""
    if type(value) not in (int, float):
        raise _wrong(place, "is not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _wrong(place, "is not finite")
    return number


def _first(values: Sequence[Any], wrong: Callable[[Any], bool]) -> int:
    """Position of the first that is wrong; the caller knows that there is one."""
    return next(position for position, value in enumerate(values) if wrong(value))


def _wrong(place: str, what: str) -> InputError:
    return InputError(f"{place} {what}.", place=place)


def _counted(count: int) -> str:
    return "1 measurement" if count == 1 else f"{count} measurements"


def _range(limits: Limits) -> str:
    unit = f" {limits.unit}" if limits.unit else ""
    return f"{limits.low:g} to {limits.high:g}{unit}"


def _listed(every: Iterable[Limits]) -> str:
    return ", ".join(one.name for one in every) or "none"


def _meant(name: str, known: Mapping[str, Limits]) -> str:
    """A name of the contract that is close to the one given, as a question; the given one is never repeated."""
    folded = {one.casefold(): one for one in known}
    close = get_close_matches(str(name).casefold(), folded, 1, 0.8)
    return f"; {folded[close[0]]} may be meant" if close else ""
