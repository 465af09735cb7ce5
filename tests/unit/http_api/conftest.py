"""A `Stage` per test, on a copy of one migrated SQLite file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import schema
from db.engine import Database
from jobs.settings import Settings
from models import catalogue, registry
from tests.services import stage as stages


@pytest.fixture(scope="session")
def _prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A migrated file with callers in it, and their tokens."""
    path = tmp_path_factory.mktemp("schema") / "medjobs.db"
    schema.upgrade(f"sqlite:///{path}")
    database = Database(f"sqlite:///{path}")
    tokens = stages.make_tokens(database)
    database.close()
    return path, tokens


@pytest.fixture(scope="session")
def _shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped")
    stages.ship_models(folder)
    return folder


@pytest.fixture
def _kinds(_shipped: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "KINDS", stages.kinds(_shipped))
    monkeypatch.setattr(registry, "entry_points", lambda group: ())
    registry.kinds.cache_clear()
    catalogue.catalogue.cache_clear()
    yield
    registry.kinds.cache_clear()
    catalogue.catalogue.cache_clear()


@pytest.fixture
def small() -> dict[str, object]:
    """Settings that a test overrides before it asks for `stage`."""
    return {}


@pytest.fixture
def stage(
    _kinds: None, _prepared: tuple[Path, dict[str, str]], tmp_path: Path, small: dict[str, object]
) -> Iterator[stages.Stage]:
    """The API with kinds of its own, without Redis."""
    path, tokens = _prepared
    shutil.copy(path, tmp_path / "medjobs.db")
    settings = Settings(home=tmp_path, redis_url=stages.NO_REDIS, publish_timeout_s=0.1, **small)
    made = stages.Stage(settings, tokens)
    yield made
    made.here.close()
