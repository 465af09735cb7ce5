"""What `medjobs worker` says before it starts, when something is wrong with what it is to join."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import revisions, schema
from db.engine import Database
from jobs.settings import Settings
from medjobs import joining
from medjobs.failing import SAID, Trouble
from medjobs.stack import prepare
from medjobs.stack.ports import free_port
from registry.shipped import import_shipped
from storage.files import Storage
from tests.services.postgres import Postgres
from tests.services.redis import RedisServer


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    opened = Database(postgres_url)
    yield opened
    opened.close()


def test_the_revisions_of_this_code_are_those_that_alembic_finds(database: Database) -> None:
    found = revisions.standing(database)
    assert (found.at, found.newest, found.behind, found.ahead) == (schema.newest(), schema.newest(), False, False)


@pytest.mark.parametrize(("revision", "said"), [("0001", "schema 0001, older than this code"), (None, "of no release")])
def test_an_older_schema_is_refused_with_the_command_that_mends_it(
    database: Database, revision: str | None, said: str
) -> None:
    change = f"UPDATE alembic_version SET version_num = '{revision}'" if revision else "DROP TABLE alembic_version"
    with database.write() as connection:
        connection.exec_driver_sql(change)
    with pytest.raises(Trouble, match=said) as refused:
        joining.check_database(database)
    assert "medjobs db upgrade" in refused.value.remedy


def test_a_newer_schema_is_worked_with_and_said(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    joining.check_database(database)
    assert "newer than this code" in capsys.readouterr().err


def test_a_wrong_password_of_postgresql_is_refused_and_not_shown(postgres_server: Postgres, postgres_url: str) -> None:
    """Given a user who needs a password, when it is wrong, then the command ends; it does not try again and again."""
    postgres_server.add_role("stranger")
    postgres_server.refuse("stranger", True)
    address = postgres_url.replace("//medjobs@", "//stranger:s3cret@")
    database = Database(address.rpartition("/")[0] + "/nowhere")
    with pytest.raises((Trouble, joining.Away)) as told:
        joining.check_database(database)
    database.close()
    assert isinstance(told.value, Trouble), told.value
    assert "s3cret" not in str(told.value)
    assert "MEDJOBS_DATABASE_URL" in told.value.remedy


def test_a_database_that_does_not_answer_yet_is_waited_for(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a port where nobody listens, then it is waited for, and said once."""
    monkeypatch.setattr(joining, "PAUSE_S", 0.05)
    away, there = Database(f"postgresql://medjobs@127.0.0.1:{free_port()}/x"), Database(postgres_url)
    tries = [away, away, away, there]
    assert schema.newest() in joining.patiently(lambda: joining.check_database(tries.pop(0)))
    said = capsys.readouterr().err
    assert said.count("waiting for it") == 1
    assert "MEDJOBS_DATABASE_URL" in said
    for one in (away, there):
        one.close()


def test_redis_a_wrong_password_ends_it_and_silence_is_waited_for(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "PAUSE_S", 0.05)
    assert redis_server.command("CONFIG SET requirepass right") == b"+OK"

    def settings(password: str) -> Settings:
        url = redis_server.url.replace("//", f"//:{password}@")
        return Settings(home=tmp_path, redis_url=url)

    with pytest.raises(Trouble, match="Redis refuses this host") as refused:
        joining.check_redis(settings("wrong"))
    assert "MEDJOBS_REDIS_URL" in refused.value.remedy
    with pytest.raises(Trouble, match="Redis refuses this host"):
        joining.check_redis(Settings(home=tmp_path, redis_url=redis_server.url))
    redis_server.kill()
    with pytest.raises(joining.Away, match="MEDJOBS_REDIS_URL"):
        joining.check_redis(settings("right"))
    starting = threading.Timer(0.3, redis_server.start)
    starting.start()
    assert joining.patiently(lambda: joining.check_redis(Settings(home=tmp_path, redis_url=redis_server.url)))
    starting.join()


def test_another_folder_than_that_of_the_installation_is_refused(database: Database, tmp_path: Path) -> None:
    """Given models whose files are in one folder, when a host comes with another, empty one, then it is told to mount
    the first; before there are any models, nothing can be told."""
    shared, other = (tmp_path / "shared").as_uri(), (tmp_path / "other").as_uri()
    joining.check_storage(Settings(home=tmp_path, storage_url=other), database)
    import_shipped(database, Storage(shared))
    joining.check_storage(Settings(home=tmp_path, storage_url=shared), database)
    with pytest.raises(Trouble, match="not the storage of this installation") as refused:
        joining.check_storage(Settings(home=tmp_path, storage_url=other), database)
    assert "Mount the same folder" in refused.value.remedy


def test_a_stack_of_its_own_refuses_another_storage_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a home whose files lie in one folder, when it is started with another, then it says so and ends."""
    monkeypatch.setenv("MEDJOBS_HOME", str(tmp_path))
    assert prepare.main() == 0
    settings = Settings.from_environment()
    database = Database(settings.database)
    import_shipped(database, Storage(settings.storage))
    database.close()
    assert prepare.main() == 0
    monkeypatch.setenv("MEDJOBS_STORAGE_URL", str(tmp_path / "other"))
    assert prepare.main() == SAID
    happened, remedy = capsys.readouterr().err.splitlines()
    assert "not the storage of this installation" in happened
    assert "medjobs storage copy" in remedy


def test_a_storage_that_cannot_be_written_is_waited_for(database: Database, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(joining.Away, match="MEDJOBS_STORAGE_URL"):
        joining.check_storage(Settings(home=tmp_path, storage_url=(tmp_path / "file" / "x").as_uri()), database)


def test_who_joins_is_said_in_a_line() -> None:
    joined = joining.Joined("postgresql://db/medjobs at schema 0003", "Redis 7.0.0", "s3://bucket")
    said = joining.introduced("gpu1", "inference", ["cuda:0", "cuda:1"], joined, "0.1.0")
    assert said == (
        "gpu1 joins with cuda:0, cuda:1 for inference jobs, medjobs 0.1.0;"
        " postgresql://db/medjobs at schema 0003, Redis 7.0.0, storage s3://bucket"
    )
