"""`python -m models.prediction.examples --out examples/data`: made-up patients, by rules and dice, from no one's data.

Odd numbers are stable, even numbers get worse over the stay: a level for each variable, a drift where the patient gets
worse, and noise. Names and units are those of PhysioNet 2012 (hours) and of PBC2 (years). The levels are round numbers
within what textbooks call normal or ill; nothing here was fitted to anybody. The same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, NamedTuple


class Rule(NamedTuple):
    """How a variable is made up: its level, the drift of one who gets worse over the whole course, the noise, how often
    it is measured, its decimals, and its limits."""

    level: float
    drift: float
    noise: float
    every: float
    digits: int
    low: float
    high: float


ICU: Mapping[str, Rule] = {
    "HR": Rule(82, 38, 5, 1, 0, 30, 220),
    "MAP": Rule(84, -26, 5, 1, 0, 30, 160),
    "SysABP": Rule(122, -34, 7, 1, 0, 40, 240),
    "RespRate": Rule(17, 12, 2, 1.5, 0, 5, 60),
    "Temp": Rule(36.9, 1.4, 0.2, 3, 1, 33, 42),
    "GCS": Rule(15, -8, 0.4, 4, 0, 3, 15),
    "Urine": Rule(110, -90, 25, 2, 0, 0, 600),
    "Lactate": Rule(1.4, 5.5, 0.3, 8, 1, 0.3, 25),
    "Creatinine": Rule(0.9, 1.8, 0.1, 12, 1, 0.2, 15),
    "BUN": Rule(17, 38, 2, 12, 0, 2, 200),
    "Platelets": Rule(230, -130, 12, 12, 0, 5, 900),
    "WBC": Rule(8.5, 11, 1, 12, 1, 0.1, 60),
    "Na": Rule(139, 5, 1.5, 12, 0, 115, 170),
    "pH": Rule(7.4, -0.17, 0.02, 8, 2, 6.8, 7.7),
}
"""Hours."""

LIVER: Mapping[str, Rule] = {
    "serBilir": Rule(1.1, 9, 0.2, 1, 1, 0.2, 40),
    "albumin": Rule(3.8, -1.1, 0.1, 1, 2, 1, 5.5),
    "prothrombin": Rule(10.4, 2.4, 0.2, 1, 1, 8, 25),
    "platelets": Rule(260, -120, 15, 1, 0, 20, 700),
    "SGOT": Rule(95, 70, 10, 1, 0, 10, 500),
    "edema": Rule(0, 1, 0, 1, 0, 0, 1),
}
"""Years."""


def course(dice: Random, worse: float, rules: Mapping[str, Rule], end: float, visits: bool) -> list[dict[str, Any]]:
    """Return the measurements from 0 to `end`; `visits`: all at the same times, else each by its own clock."""
    together = _times(dice, end, 1.0, 0.0)
    found = []
    for name, rule in rules.items():
        offset = dice.gauss(0, rule.noise)
        for time in together if visits else _times(dice, end, rule.every, dice.uniform(0, rule.every)):
            value = rule.level + offset + worse * rule.drift * time / end + dice.gauss(0, rule.noise)
            found.append((time, name, round(min(max(value, rule.low), rule.high), rule.digits)))
    return [{"time": time, "name": name, "value": value} for time, name, value in sorted(found)]


def _times(dice: Random, end: float, every: float, first: float) -> list[float]:
    """Return times from `first` to `end`, about `every` apart."""
    times = [round(first, 2)]
    while (following := round(times[-1] + every * dice.uniform(0.7, 1.3), 2)) <= end:
        times.append(following)
    return times


def icu(number: int) -> dict[str, Any]:
    """Return intensive care patient `number` (from 1) over 48 hours, as JSON."""
    dice, worse = _drawn("icu", number)
    static = {"Age": dice.randint(35, 88), "Gender": dice.randint(0, 1), "Height": dice.randint(152, 190),
              "ICUType": dice.randint(1, 4)}  # fmt: skip
    return {"static": static, "observations": course(dice, worse, ICU, 48, visits=False)}


def liver(number: int) -> dict[str, Any]:
    """Return patient `number` (from 1) with a liver disease over six years of visits, as JSON."""
    dice, worse = _drawn("liver", number)
    static = {"age": dice.randint(35, 70), "sex": dice.randint(0, 1)}
    return {"static": static, "observations": course(dice, worse, LIVER, 6, visits=True)}


def _drawn(ward: str, number: int) -> tuple[Random, float]:
    """Return the patient's dice, and how much worse the patient gets: 0 for odd numbers."""
    dice = Random(f"medjobs {ward} {number}")  # noqa: S311 - made-up values, no secret
    return dice, dice.uniform(0.7, 1.1) if number % 2 == 0 else 0.0


def table(patients: Mapping[str, Mapping[str, Any]]) -> str:
    """Return patients as one long table, each row with its subject; a static value has no time."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(("subject", "time", "name", "value"))
    for subject, one in patients.items():
        rows.writerows((subject, "", name, value) for name, value in one["static"].items())
        rows.writerows((subject, *measured.values()) for measured in one["observations"])
    return out.getvalue()


def examples() -> dict[str, str]:
    """Return the files by name."""
    files = {f"icu-{number:02d}.json": json.dumps(icu(number)) + "\n" for number in range(1, 5)}
    files |= {f"liver-{number:02d}.json": json.dumps(liver(number)) + "\n" for number in range(1, 3)}
    files["icu-patients.csv"] = table({f"SYNTHETIC-{number:02d}": icu(number) for number in range(5, 17)})
    return files


def main(arguments: list[str] | None = None) -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(prog="python -m models.prediction.examples", description="Write made-up patients.")
    parser.add_argument("--out", type=Path, required=True, help="folder that takes them")
    folder = parser.parse_args(arguments).out
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in examples().items():
        (folder / name).write_text(text, newline="\n")


if __name__ == "__main__":
    main()
