"""The example patients: what the command makes, whole and of possible values, and what the repository holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.predicting import Source
from models.data.formats.physionet2012 import LIMITS, STATICS
from models.prediction.contract import Contract
from models.prediction.examples import examples, main
from models.prediction.patients import parse
from models.prediction.splitting import split

SHIPPED = Path(__file__).parents[2] / "examples" / "data"

CONTRACT = Contract.read(
    {
        "unit": "hours", "horizon": 48,
        "variables": [{"name": name, "low": low, "high": high} for name, (low, high, _) in LIMITS.items()],
        "statics": [{"name": name, "low": low, "high": high} for name, (low, high) in STATICS.items()],
        "outcome": {"kind": "binary", "name": "death", "horizons": []}, "course": None,
    }
)  # fmt: skip


def test_the_command_makes_the_files_of_the_repository(tmp_path: Path) -> None:
    main(["--out", str(tmp_path)])
    for name in examples():
        assert (tmp_path / name).read_bytes() == (SHIPPED / name).read_bytes()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 400_000


@pytest.mark.parametrize("name", [name for name in examples() if name.startswith("icu")])
def test_a_model_of_physionet_2012_takes_them_without_a_remark(name: str) -> None:
    found = [parse(one.data, CONTRACT) for one in split(SHIPPED / name) if isinstance(one, Source)]
    assert len(found) == (12 if name.endswith(".csv") else 1)
    assert all(one.notes == () and len(one.observations) > 150 for one in found)


def test_even_numbers_get_worse() -> None:
    """Given the lactate at the end of each stay, then those drawn as getting worse have more than twice the others'."""
    last = []
    for number in range(1, 5):
        rows = json.loads(examples()[f"icu-{number:02d}.json"])["observations"]
        last.append([one["value"] for one in rows if one["name"] == "Lactate"][-1])
    assert min(last[1::2]) > 2 * max(last[::2])
