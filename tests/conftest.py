"""Fixtures that every test may use: a real Redis, a real PostgreSQL, a database of either sort, the shared test data.

A service that this machine lacks skips the test at home and fails it in CI.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import schema
from db.engine import Database
from tests.services.postgres import NoPostgres, Postgres
from tests.services.redis import NoRedis, RedisServer
from tests.services.s3 import S3Server


def absent(reason: str) -> None:
    """Skip for want of something at home; fail where CI=true, which must have everything."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"CI must have this: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def _postgres() -> Iterator[Postgres | str]:
    try:
        server = Postgres()
    except NoPostgres as missing:
        yield str(missing)
        return
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_server(_postgres: Postgres | str) -> Postgres:
    """The session's PostgreSQL; tests that halt or restart it start one of their own."""
    if isinstance(_postgres, str):
        absent(_postgres)
    assert isinstance(_postgres, Postgres)
    return _postgres


@pytest.fixture(scope="session")
def _migrated(postgres_server: Postgres) -> str:
    name = postgres_server.fresh()
    schema.upgrade(postgres_server.url(name))
    return name


@pytest.fixture
def postgres_url(postgres_server: Postgres, _migrated: str) -> Iterator[str]:
    """The URL of a migrated PostgreSQL database that this test has for itself."""
    name = postgres_server.fresh(template=_migrated)
    yield postgres_server.url(name)
    postgres_server.drop(name)


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def s3(_s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The session's S3, empty but for a bucket, and the environment with which a user reaches it."""
    _s3_server.empty()
    for name, value in _s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return _s3_server


@pytest.fixture(scope="session")
def _migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "medjobs.db"
    schema.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, _migrated_file: Path) -> str:
    """The URL of a migrated SQLite database that this test has for itself."""
    shutil.copy(_migrated_file, tmp_path / "medjobs.db")
    return f"sqlite:///{tmp_path / 'medjobs.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of each sort in turn."""
    fixture = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    return str(request.getfixturevalue(fixture))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open `Database` of each sort in turn."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis that this test may flush, kill, pause and restart."""
    try:
        server = RedisServer()
    except NoRedis as missing:
        absent(str(missing))
        raise
    yield server
    server.stop()


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data: MEDJOBS_TEST_DATA, by default ../shared/data beside the project."""
    default = Path(__file__).parent.parent.parent / "shared" / "data"
    folder = Path(os.environ.get("MEDJOBS_TEST_DATA", default))
    if not folder.is_dir():
        absent(f"no test data at {folder}; set MEDJOBS_TEST_DATA to the folder that holds it.")
    return folder
