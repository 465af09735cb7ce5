"""A `Stage` per test, on a copy of one migrated SQLite file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import models, schema
from db.engine import Database
from jobs.settings import Settings
from models import catalogue, registry
from registry.shipped import import_shipped
from storage.files import Storage
from tests.services import stage as stages
from tests.services.stage_kinds import kinds as stage_kinds


@pytest.fixture(scope="session")
def _shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped")
    stages.ship_models(folder)
    return folder


@pytest.fixture(scope="session")
def _prepared(tmp_path_factory: pytest.TempPathFactory, _shipped: Path) -> tuple[Path, dict[str, str]]:
    """A home with a migrated file, callers and shipped models in it, and the callers' tokens."""
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home)
    schema.upgrade(settings.database)
    database = Database(settings.database)
    tokens = stages.make_tokens(database)
    import_shipped(database, Storage(settings.storage), catalogue.Catalogue.read({_shipped}))
    models.move_alias(database, "pictures", "candidate", 2, caller_id=None)
    database.close()
    return home, tokens


@pytest.fixture
def _kinds(_shipped: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "KINDS", stage_kinds(_shipped))
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
    home, tokens = _prepared
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    settings = Settings(home=tmp_path, redis_url=stages.NO_REDIS, publish_timeout_s=0.1, **small)
    made = stages.Stage(settings, tokens)
    yield made
    made.here.close()
