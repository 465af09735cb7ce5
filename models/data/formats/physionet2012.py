"""PhysioNet/CinC Challenge 2012 (Silva et al., Computing in Cardiology 2012): the first 48 hours of an intensive stay.

Files: an archive (tar, tar.xz, zip) of one text per stay with rows `HH:MM,Parameter,Value`, and the outcomes. RecordID,
Age, Gender, Height, ICUType and a first Weight come at 00:00, -1 where unknown. The outcome is In-hospital_death.
`Survival` and `Length_of_stay` are the outcome in other words, SAPS-I and SOFA are scores: none of them is an input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.data import splitting
from models.data.archives import text_members
from models.data.canonical import SequenceSet
from models.data.options import Physionet2012Options
from models.data.problems import Notes, Problems, refuse
from models.data.tables import read_table

LIMITS: Mapping[str, tuple[float, float, str]] = {
    "ALP": (1, 5000, "IU/L"),
    "ALT": (1, 20000, "IU/L"),
    "AST": (1, 30000, "IU/L"),
    "Albumin": (0.5, 7, "g/dL"),
    "BUN": (0, 300, "mg/dL"),
    "Bilirubin": (0, 80, "mg/dL"),
    "Cholesterol": (20, 1000, "mg/dL"),
    "Creatinine": (0.05, 40, "mg/dL"),
    "DiasABP": (10, 200, "mmHg"),
    "FiO2": (0.2, 1, "1"),
    "GCS": (3, 15, "1"),
    "Glucose": (5, 2000, "mg/dL"),
    "HCO3": (2, 60, "mmol/L"),
    "HCT": (5, 75, "%"),
    "HR": (10, 300, "1/min"),
    "K": (1, 15, "mEq/L"),
    "Lactate": (0, 40, "mmol/L"),
    "MAP": (10, 250, "mmHg"),
    "MechVent": (0, 1, "1"),
    "Mg": (0.2, 15, "mmol/L"),
    "NIDiasABP": (10, 200, "mmHg"),
    "NIMAP": (10, 250, "mmHg"),
    "NISysABP": (20, 300, "mmHg"),
    "Na": (90, 200, "mEq/L"),
    "PaCO2": (5, 200, "mmHg"),
    "PaO2": (10, 800, "mmHg"),
    "Platelets": (1, 3000, "1000/uL"),
    "RespRate": (1, 120, "1/min"),
    "SaO2": (20, 100, "%"),
    "SysABP": (20, 300, "mmHg"),
    "Temp": (25, 45, "deg C"),
    "TroponinI": (0, 200, "ug/L"),
    "TroponinT": (0, 100, "ug/L"),
    "Urine": (0, 5000, "mL"),
    "WBC": (0, 1000, "1000/uL"),
    "Weight": (20, 400, "kg"),
    "pH": (6.5, 8, "1"),
}
"""What a living patient can have, wide on purpose: beyond it lies a slip of the pen or a line that came off (a pressure
of 0), and the observation is dropped. Units as the challenge gives them."""

STATICS: Mapping[str, tuple[float, float]] = {
    "Age": (0, 120),
    "Gender": (0, 1),
    "Height": (100, 250),
    "ICUType": (1, 4),
}
"""Descriptors and their limits; Gender is 0 female, 1 male, Height in cm."""

SEXES = ("female", "male")
UNITS = ("coronary care", "cardiac surgery recovery", "medical", "surgical")

_OUTCOME = "In-hospital_death"
_MOST_MEMBERS, _MOST_MEMBER, _MOST_BYTES = 200_000, 4 << 20, 4 << 30
"""A stay has 10 KB; all three sets of the challenge have 12,000."""

_HOURS = {f"{hour:02d}:{minute:02d}": hour + minute / 60 for hour in range(100) for minute in range(60)}
_CODES = {name: number for number, name in enumerate(LIMITS)}
_KNOWN = {*LIMITS, *STATICS, "RecordID", ""}


def read(files: Sequence[Path], options: Physionet2012Options, notes: Notes | None = None) -> SequenceSet:
    """Read one set of the challenge. Raises `DatasetInvalid`; stays without a series are kept and counted."""
    notes, problems = notes or Notes(), Problems()
    if len(files) != 2:
        raise refuse("The format physionet2012 takes the archive of stays and the file of outcomes, in this order.")
    deaths = _deaths(files[1])
    stays = _Stays()
    for position, text in enumerate(text_members(files[0], 0, ".txt", _MOST_MEMBERS, _MOST_MEMBER, _MOST_BYTES)):
        stays.add(position, text, problems)
    problems.check()
    for position, name in enumerate(stays.names):
        if name not in deaths:
            problems.add(f"The stay at position {position + 1} of the archive has no outcome.", file=0)
    if len(set(stays.names)) != len(stays.names):
        problems.add("Two files of the archive have the same RecordID.", file=0)
    problems.check()
    stays.tell(notes)
    notes.warn(
        "reading", "Outcomes of stays that are not in the archive were left out.", len(deaths.keys() - set(stays.names))
    )
    return stays.built(np.array([deaths[name] for name in stays.names], dtype=np.float32))


def _deaths(path: Path) -> dict[str, float]:
    """RecordID -> 0 or 1."""
    table, problems = read_table(path, 1), Problems()
    table.need(["RecordID", _OUTCOME])
    ids, deaths = table.texts("RecordID", problems), table.numbers(_OUTCOME, problems)
    table.only(deaths, (0, 1), _OUTCOME, problems)
    doubled = ids.is_duplicated().to_numpy()
    problems.rows("The stay has two outcomes.", table.rows[doubled].tolist(), file=1, column="RecordID")
    problems.check()
    return dict(zip(ids.to_list(), deaths.tolist(), strict=True))


class _Stays:
    """The stays read so far, as columns."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.static: list[list[float]] = []
        self.columns: list[NDArray[np.float64]] = []
        self.dropped: dict[str, int] = {}
        self.unnamed = 0

    def add(self, position: int, text: str, problems: Problems) -> None:
        """Take the text of the stay at `position` of the archive."""
        static = dict.fromkeys(STATICS, np.nan)
        name, rows = "", []
        lines = text.splitlines()
        if not lines or lines[0].strip() != "Time,Parameter,Value":
            problems.add(f"File {position + 1} of the archive does not begin with Time,Parameter,Value.", file=0)
            return
        for number, line in enumerate(lines[1:], 2):
            found = self._row(line)
            if found is None:
                detail = (
                    f"File {position + 1} of the archive: the row is not HH:MM, a parameter of the challenge, a number."
                )
                problems.add(detail, file=0, row=number)
                continue
            hours, parameter, value = found
            if parameter == "RecordID":
                name = str(int(value))
            elif parameter in STATICS:
                static[parameter] = self._within(parameter, value, *STATICS[parameter])
            elif parameter and not math.isnan(value := self._within(parameter, value, *LIMITS[parameter][:2])):
                rows.append((len(self.names), hours, _CODES[parameter], value))
        if not name:
            problems.add(f"File {position + 1} of the archive has no RecordID.", file=0)
        self.names.append(name)
        self.static.append(list(static.values()))
        self.columns.append(np.array(rows, dtype=np.float64).reshape(-1, 4))

    def _row(self, line: str) -> tuple[float, str, float] | None:
        """Hours, parameter and value of a line; None where it is not such a line."""
        cells = line.split(",")
        hours = _HOURS.get(cells[0])
        if len(cells) != 3 or hours is None or cells[1] not in _KNOWN:
            return None
        parameter = cells[1]
        # Other sets of the challenge hold rows with an empty name: nobody knows what they measured.
        self.unnamed += parameter == ""
        try:
            value = float(cells[2])
        except ValueError:
            return None
        return (hours, parameter, value) if math.isfinite(value) else None

    def _within(self, parameter: str, value: float, low: float, high: float) -> float:
        """The value, or NaN where it is -1 (not known) or no living patient has it (counted)."""
        if low <= value <= high:
            return value
        if value != -1:
            self.dropped[parameter] = self.dropped.get(parameter, 0) + 1
        return np.nan

    def tell(self, notes: Notes) -> None:
        """Note what was dropped and what is empty."""
        notes.facts["dropped"] = dict(sorted(self.dropped.items()))
        notes.facts["limits"] = {name: list(limits) for name, limits in LIMITS.items()}
        notes.warn(
            "reading",
            "Observations outside physiological limits were dropped; facts.dropped counts them by variable.",
            sum(self.dropped.values()),
        )
        notes.warn("reading", "Rows without a parameter's name were left out.", self.unnamed)
        described = _CODES["Weight"]
        series = [bool(((own[:, 2] != described) | (own[:, 1] > 0)).any()) for own in self.columns]
        notes.warn("reading", "Stays have no series, only descriptors; they are kept.", series.count(False))

    def built(self, label: NDArray[np.float32]) -> SequenceSet:
        """The set, its observations sorted by stay, time and variable."""
        observed = np.concatenate(self.columns) if self.columns else np.empty((0, 4))
        observed = observed[np.lexsort((observed[:, 3], observed[:, 2], observed[:, 1], observed[:, 0]))]
        static = np.array(self.static, dtype=np.float32).reshape(-1, len(STATICS))
        sex, unit = (np.nan_to_num(static[:, column], nan=-1).astype(np.int64) for column in (1, 3))
        return SequenceSet(
            split=splitting.parts(self.names),
            key=splitting.keys(self.names),
            groups={"Sex": sex, "ICU": np.where(unit > 0, unit - 1, -1)},
            group_names={"Sex": SEXES, "ICU": UNITS},
            subject=observed[:, 0].astype(np.int32),
            time=observed[:, 1],
            variable=observed[:, 2].astype(np.int16),
            value=observed[:, 3].astype(np.float32),
            variables=tuple(LIMITS),
            static=static,
            statics=tuple(STATICS),
            fold=splitting.folds(self.names),
            outcome=_OUTCOME,
            unit="hours",
            label=label,
        )
