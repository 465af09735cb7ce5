"""A real API process on a real Redis."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import schema
from db.callers import create_token
from db.engine import Database
from jobs.settings import Settings
from storage.files import Storage
from tests.services.api_server import ApiServer
from tests.services.redis import RedisServer


class Running:
    """The server, its database and storage, and a token of one caller."""

    def __init__(self, server: ApiServer, settings: Settings) -> None:
        self.server = server
        self.database = Database(settings.database)
        self.storage = Storage(settings.storage)
        self.token = create_token(self.database, "lab", ["read", "submit"])
        self.http = server.client(self.token)


@pytest.fixture
def running(tmp_path: Path, redis_server: RedisServer) -> Iterator[Running]:
    """The API on SQLite, with eight threads: four may be held."""
    settings = Settings(home=tmp_path, redis_url=redis_server.url)
    schema.upgrade(settings.database)
    server = ApiServer(tmp_path, redis_url=redis_server.url, api_threads="8")
    made = Running(server, settings)
    yield made
    made.http.close()
    made.database.close()
    server.stop(signal.SIGINT)
