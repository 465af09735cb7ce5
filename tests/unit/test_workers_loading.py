"""Which models a worker keeps: the default ones ahead of any job, and never one taken away from a job that uses it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from db.engine import Database
from db.records import Claim
from jobs.errors import JobError, StorageUnavailable
from jobs.kinds import Kind, Params
from jobs.predicting import Encoded, ModelVersion, Predictor, Source
from registry.versions import Registry
from storage.files import Storage, Stored
from workers.attempt import Attempt
from workers.batcher import Batcher
from workers.loading import Loaded, Models
from workers.starting import register_shipped


class Nothing:
    """A predictor that is there."""

    max_batch = 1

    def decode(self, source: Source, params: Params) -> Any:
        return source

    def predict(self, batch: Sequence[Any]) -> Sequence[Any]:
        return batch

    def encode(self, decoded: Any, output: Any, position: int) -> Encoded:
        return Encoded({})

    def provenance(self) -> dict[str, Any]:
        return {}


def load(version: ModelVersion | None, device: str) -> Predictor:
    return Nothing()


class Place:
    """A batcher that only notes whether it was closed."""

    def __init__(self, predictor: Predictor) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


KINDS = {name: Kind(name=name, summary="", params=Params, item=Params, predictor=f"{__name__}:load") for name in "abcd"}


class Bench:
    """Models with room for `most`, and the attempts that were told of theirs."""

    def __init__(self, most: int = 1) -> None:
        self.ready: dict[str, Loaded] = {}
        self._told = threading.Event()
        registry = cast(Registry, SimpleNamespace())
        make = cast(Callable[[Predictor], Batcher], Place)
        self.models = Models(KINDS, registry, "cpu", make, self._ready, most)

    def _ready(self, attempt: Attempt, made: Loaded | JobError) -> None:
        assert isinstance(made, Loaded)
        self.ready[attempt.claim.kind] = made

    def use(self, kind: str) -> Loaded:
        """A job of that kind comes; its model."""
        claim = Claim("job", 1, kind, None, None, [], {}, 0, 60.0, 1, 1, 0, 0.0)
        loaded = self.models.get(Attempt(claim, KINDS[kind], Params()))
        until = time.monotonic() + 5
        while loaded is None and kind not in self.ready and time.monotonic() < until:
            time.sleep(0.005)
        return loaded or self.ready[kind]

    def settle(self, count: int) -> None:
        """Wait until so many models are loaded."""
        until = time.monotonic() + 5
        while len(self.models.all()) != count and time.monotonic() < until:
            time.sleep(0.005)
        assert len(self.models.all()) == count


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.models.close()


def closed(loaded: Loaded) -> bool:
    return cast(Place, loaded.batcher).closed


def test_a_model_that_a_job_uses_is_not_taken_away_from_it(bench: Bench) -> None:
    """Given room for one, when others are loaded, then those in use stay, and go once their jobs are over."""
    first = bench.use("a")
    second = bench.use("b")
    bench.settle(2)
    assert not closed(first)
    bench.models.leave(first)
    bench.use("c")
    bench.settle(2)
    assert closed(first)
    assert not closed(second)


def test_the_model_that_was_used_last_stays_longest() -> None:
    bench = Bench(most=2)
    for kind in "aba":
        bench.models.leave(bench.use(kind))
    bench.use("c")
    bench.settle(2)
    assert {one.pinned.kind for one in bench.models.all()} == {"a", "c"}
    bench.models.close()


def test_a_default_model_that_gave_way_is_not_loaded_at_every_heartbeat(bench: Bench) -> None:
    """Given more default models than there is room for, when the heart beats again, then nothing is loaded anew."""
    bench.models.warm()
    bench.settle(1)
    time.sleep(0.2)
    kept = bench.models.all()
    for _ in range(3):
        bench.models.warm()
    time.sleep(0.1)
    assert bench.models.all() == kept


def test_a_worker_starts_while_the_storage_is_away(
    sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Away(Storage):
        def put(self, *_: Any) -> Stored:
            raise StorageUnavailable

    db = Database(sqlite_url)
    register_shipped(db, Away(str(tmp_path / "files")))
    db.close()
    assert "the storage is away" in caplog.text
