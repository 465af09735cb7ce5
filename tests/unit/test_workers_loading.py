"""Which models a worker keeps: the default ones ahead of any job, and never one taken away from a job that uses it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

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
from workers.memory import Gauge
from workers.room import Room
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

    peak = 0

    def __init__(self, predictor: Predictor) -> None:
        self.closed = self.busy = False

    def close(self) -> None:
        self.closed = True

    def join(self) -> None:
        assert self.closed


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


def test_a_job_that_ends_while_its_model_is_loaded_holds_it_no_more(bench: Bench) -> None:
    """Given a job that was cancelled, when its model is there, then the job does not take it."""
    loaded = bench.use("a")
    claim = Claim("job", 1, "a", None, None, [], {}, 0, 60.0, 1, 1, 0, 0.0)
    cancelled, goes_on = (Attempt(claim, KINDS["a"], Params()) for _ in range(2))
    assert cancelled.finish()
    assert (cancelled.adopt(loaded), cancelled.model) == (False, None)
    assert (goes_on.adopt(loaded), goes_on.model) == (True, loaded)


def test_a_model_that_still_predicts_is_not_idle_though_its_job_is_over(bench: Bench) -> None:
    """Given a job that was cancelled in its predict, when room is needed, then its model stays until it has ended."""
    first = bench.use("a")
    bench.models.leave(first)
    cast(Place, first.batcher).busy = True
    second = bench.use("b")
    bench.settle(2)
    assert not closed(first)
    cast(Place, first.batcher).busy = False
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


# -- memory ---------------------------------------------------------------------------------------------------------


class Fixed(Gauge):
    """A device of which each load of a kind takes what `TAKES` says."""

    def __init__(self) -> None:
        super().__init__("cpu")
        self.now = 0
        self.freed = 0

    def taken(self) -> int:
        return self.now

    def free(self) -> None:
        self.freed += 1


TAKES = {"a": 40, "b": 40, "c": 40, "d": 200}
SIZED = {name: replace(kind, memory_bytes=TAKES[name]) for name, kind in KINDS.items()}


class Card(Bench):
    """Models on a device of 100 bytes."""

    def __init__(self, kinds: dict[str, Kind], limit: int | None = 100) -> None:
        self.ready = {}
        self.errors: dict[str, JobError] = {}
        make = cast(Callable[[Predictor], Batcher], Place)
        self.gauge = Fixed()
        self.models = Models(
            kinds, cast(Registry, SimpleNamespace()), "cpu", make, self._ready, room=Room(self.gauge, limit)
        )

    def _ready(self, attempt: Attempt, made: Loaded | JobError) -> None:
        if isinstance(made, JobError):
            self.errors[attempt.claim.kind] = made
        else:
            self.ready[attempt.claim.kind] = made

    def refused(self, kind: str) -> JobError:
        """A job of that kind comes, and its model cannot be loaded; why."""
        claim = Claim("job", 1, kind, None, None, [], {}, 0, 60.0, 1, 1, 0, 0.0)
        assert self.models.get(Attempt(claim, SIZED[kind], Params())) is None
        until = time.monotonic() + 5
        while kind not in self.errors and time.monotonic() < until:
            time.sleep(0.005)
        return self.errors[kind]


def test_the_idle_model_that_was_used_longest_ago_gives_way_before_another_is_loaded() -> None:
    """Given 100 bytes and models of 40, when a third comes, then the one used longest ago is gone, and no other."""
    card = Card(SIZED)
    first, second = card.use("a"), card.use("b")
    for loaded in (first, second):
        card.models.leave(loaded)
    card.models.leave(card.use("a"))
    card.use("c")
    assert closed(second)
    assert not closed(first)
    assert {one["kind"]: one["bytes"] for one in card.models.resident()["models"]} == {"a": 40, "c": 40}
    assert card.models.resident()["limit"] == 100
    assert card.gauge.freed == 1
    card.models.close()


def test_a_model_larger_than_the_device_is_refused_with_both_sizes_and_nothing_gives_way_for_it() -> None:
    card = Card(SIZED)
    kept = card.use("a")
    card.models.leave(kept)
    error = card.refused("d")
    assert (error.code, error.facts) == ("model-too-large", {"needed_bytes": 200, "limit_bytes": 100})
    assert not closed(kept)
    card.models.close()


def test_a_load_waits_for_models_in_use_and_comes_again_where_they_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given two models in use that leave no room, then a third is loaded once one of them is idle; and while none
    becomes idle its job is told that memory is short, which is not the job's fault."""
    monkeypatch.setattr("workers.room.PATIENCE_S", 0.1)
    monkeypatch.setattr("workers.room.WAIT_S", 0.2)
    card = Card(SIZED)
    first, _ = card.use("a"), card.use("b")
    error = card.refused("c")
    assert (error.code, error.facts["needed_bytes"], error.retryable) == ("out-of-memory", 40, True)
    monkeypatch.setattr("workers.room.WAIT_S", 5.0)
    threading.Timer(0.1, card.models.leave, (first,)).start()
    card.use("c")
    assert closed(first)
    card.models.close()


class Crowded(Card):
    """Jobs that come all the time, for two models of which the device has room for one; each takes 50 ms."""

    def __init__(self) -> None:
        super().__init__({name: replace(KINDS[name], memory_bytes=60) for name in "ab"})
        self.served: list[str] = []
        self.jobs = 0

    def come(self, kind: str) -> None:
        """A job comes."""
        self.jobs += 1
        claim = Claim(f"job-{self.jobs}", 1, kind, None, None, [], {}, 0, 60.0, 1, 1, 0, 0.0)
        attempt = Attempt(claim, KINDS[kind], Params())
        loaded = self.models.get(attempt)
        if loaded is not None:
            self._ready(attempt, loaded)

    def _ready(self, attempt: Attempt, made: Loaded | JobError) -> None:
        assert isinstance(made, Loaded)
        assert not closed(made)
        self.served.append(attempt.claim.kind)
        threading.Timer(0.05, self.models.leave, (made,)).start()

    @property
    def turns(self) -> int:
        """How often the model changed."""
        return sum(1 for _ in groupby(list(self.served)))


def test_each_model_has_its_turn_however_steady_the_jobs_of_the_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given jobs of two models that leave no moment idle, when one has room, then both get on and no job is left."""
    monkeypatch.setattr("workers.room.PATIENCE_S", 0.1)
    card, until = Crowded(), time.monotonic() + 20
    while card.turns < 6 and time.monotonic() < until:
        for kind in "ab":
            card.come(kind)
        time.sleep(0.01)
    assert card.turns >= 6
    while len(card.served) < card.jobs and time.monotonic() < until:
        time.sleep(0.01)
    assert len(card.served) == card.jobs
    card.models.close()


def test_what_a_model_was_seen_to_take_counts_where_it_is_more_than_it_declares() -> None:
    """Given a model that declares 40 bytes and takes 70, then it counts 70, and 70 when it is loaded again."""
    card = Card({**SIZED, "a": replace(SIZED["a"], predictor=f"{__name__}:load_large")})
    global _card
    _card = card
    loaded = card.use("a")
    assert loaded.takes == 70
    card.models.leave(loaded)
    card.gauge.now = 0
    card.use("b")
    assert closed(loaded)
    card.models.close()


_card: Card | None = None


def load_large(version: ModelVersion | None, device: str) -> Predictor:
    assert _card is not None
    _card.gauge.now += 70
    return Nothing()


def load_short_of_memory(version: ModelVersion | None, device: str) -> Predictor:
    """Loads once the device was cleared."""
    assert _card is not None
    if not _card.gauge.freed:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
    return Nothing()


def test_a_load_that_runs_out_of_memory_is_tried_again_without_the_idle_models() -> None:
    """Given a device whose size nobody tells, when a load fails for memory, then the idle models go and it succeeds."""
    card = Card({**KINDS, "b": replace(KINDS["b"], predictor=f"{__name__}:load_short_of_memory")}, limit=None)
    global _card
    _card = card
    idle = card.use("a")
    card.models.leave(idle)
    card.use("b")
    assert closed(idle)
    card.models.close()


def test_what_a_model_was_seen_to_take_refuses_it_never() -> None:
    """Given a model of 40 bytes whose predict took 90 more, on a device of 100, then it is loaded again."""
    card = Card(SIZED)
    loaded = card.use("a")
    loaded.weights, loaded.batcher.peak = 40, 90
    assert loaded.takes == 130
    card.models.leave(loaded)
    card.models.leave(card.use("b"))
    assert closed(loaded)
    del card.ready["a"]
    again = card.use("a")
    assert again is not loaded
    card.models.close()


def test_a_load_beside_another_takes_over_what_the_weights_took_and_not_what_a_predict_did() -> None:
    card = Card({**KINDS}, limit=None)
    loaded = card.use("a")
    loaded.weights, loaded.batcher.peak = 40, 90
    card.models._close(card.models._loaded.pop(loaded.pinned))
    card.models.room.alone = lambda ticket: False  # type: ignore[method-assign]
    del card.ready["a"]
    assert card.use("a").weights == 40
    card.models.close()


# -- a device that fails --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "device", "called", "code"),
    [
        ("No CUDA GPUs are available", "cuda:0", [False], "device-lost"),
        ("CUDA error: device-side assert triggered", "cuda:0", [True], "device-lost"),
        ("CUDA error: no kernel image is available for execution on the device", "cuda:0", [], "model-unusable"),
        ("No CUDA GPUs are available", "cpu", [], "model-unusable"),
    ],
)
def test_a_load_that_finds_the_device_gone_says_so_and_whether_the_model_may_be_to_blame(
    said: str, device: str, called: list[bool], code: str
) -> None:
    """Given a network that asks for CUDA where the worker is on the processor, then the model cannot be used."""
    lost: list[bool] = []
    card = Card({**KINDS, "b": replace(KINDS["b"], predictor=f"{__name__}:load_without_device")})
    card.models._device, card.models._lost = device, lost.append
    global _said
    _said = said
    assert card.refused("b").code == code
    assert lost == called
    card.models.close()


_said = ""


def load_without_device(version: object, device: str) -> Predictor:
    raise RuntimeError(_said)
