"""Kinds of other packages: found by their entry points, and no package takes down the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models import registry
from models.registry import kinds

TOY = "tests.training_toy:KIND"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Declares an entry point as an installed package of that name does."""

    def made(package: str, entry: str) -> None:
        info = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[medjobs.kinds]\n{package} = {entry}\n")

    monkeypatch.syspath_prepend(str(tmp_path))
    registry.kinds.cache_clear()
    yield made
    registry.kinds.cache_clear()


@pytest.mark.parametrize("entry", ["no_such_module:KIND", "tests.training_toy:NO_SUCH", "tests.training_toy:ROOT"])
def test_a_broken_package_is_left_out_with_a_warning_that_names_it(
    entry: str, install: Callable[[str, str], None], caplog: pytest.LogCaptureFixture
) -> None:
    install("broken-lab", entry)
    install("toy-fit", TOY)
    assert {"diagnosis", "training", "toy-fit"} <= set(kinds())
    [told] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "package broken-lab" in told


def test_a_name_that_is_taken_is_refused(install: Callable[[str, str], None]) -> None:
    install("toy-fit", TOY)
    install("toy-copy", TOY)
    with pytest.raises(ValueError, match=r"'toy-fit' of tests\.training_toy:KIND is already defined"):
        kinds()
