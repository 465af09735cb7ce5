"""An inference job's way through its worker: claim, fetch, decode, predict, encode, store, complete.

The methods of `Line` stand in that order. Each runs in the thread that its docstring names, and no exception leaves
any of them: it becomes an item's error, a retry, or the end of the job.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from db import jobs
from db.engine import Database
from db.records import Claim, Completion, StoredArtifact
from jobs import logs
from jobs.errors import AllItemsFailed, JobError, JobTimeout, ModelTooLarge, OutOfMemory
from jobs.kinds import Kind
from jobs.predicting import Encoded, Source
from jobs.settings import Settings
from jobs.states import Outcome, State
from storage.files import Storage
from workers.attempt import Attempt, Unit
from workers.bench import Bench, Errand
from workers.blame import as_job_error
from workers.ending import Ending, Endings, back_to_queue, cancelled, failed
from workers.flower import Flower
from workers.inputs import Inputs
from workers.loading import Loaded, Models, name_of
from workers.metrics import PHASE, Batches
from workers.placement import Placement, said, squeezed
from workers.provenance import item_entry, provenance, result, warning

log = logging.getLogger("medjobs.workers")

ERRAND_S = 0.010
"""Encoding is shared out among the hands in portions of about this length: shorter ones would cost more than help."""


MOST_ERRORS = 100
"""Item errors that a failed job's own error lists."""


@dataclass(frozen=True)
class Plant:
    """What a line works with; made once, in workers/inference.py."""

    db: Database
    storage: Storage
    settings: Settings
    kinds: Mapping[str, Kind]
    worker_id: str
    scratch: Path
    flower: Flower
    bench: Bench
    queues: Sequence[str]
    """Nothing else is claimed, whatever message comes."""

    fitting: Sequence[str]
    """The general queues whose jobs fit this worker's device, be it set apart or not."""

    freed: Callable[[Sequence[str]], None]
    """Told of ids that no longer take a place."""


class Line:
    """The line; `models` and `endings` are attached right after it is made, because they call back into it."""

    models: Models
    endings: Endings

    def __init__(self, plant: Plant) -> None:
        """Nothing held."""
        self.plant = plant
        self.placement = Placement(plant.db, plant.settings, plant.fitting)
        self.held: dict[str, Attempt] = {}
        self._left = threading.Condition()
        """Notified whenever attempts are forgotten."""

        self.batches = Batches()
        self._encode_s = 0.001
        """How long one item takes to encode, lately."""

    # -- claim (the taker's thread) --------------------------------------------------------------------------------

    def take(self, ids: Sequence[str]) -> int:
        """Claim the jobs, with one UPDATE and before anything touches an input; how many are now ours.

        Raises `DatabaseUnavailable`; then nothing is ours.
        """
        plant = self.plant
        claims = jobs.claim(plant.db, ids, plant.worker_id, plant.settings.lease_inference_s, "inference", plant.queues)
        taken = {claim.id for claim in claims}
        plant.freed([job_id for job_id in ids if job_id not in taken])
        for claim in claims:
            about = {"job_id": claim.id, "fence": claim.fence, "kind": claim.kind}
            logs.attempts.info("attempt begins", extra=about)
            self._open(claim)
        plant.flower.tell([event for claim in claims for event in plant.flower.started(claim.id, claim.kind)])
        return len(claims)

    def _open(self, claim: Claim) -> None:
        kind = self.plant.kinds[claim.kind]
        try:
            params = kind.params.model_validate(claim.params)
        except ValidationError:
            attempt = Attempt(claim, kind, kind.params.model_construct())
            self.held[claim.id] = attempt
            self.end(failed(attempt, JobError("This worker's version of the kind refuses the parameters.")))
            return
        attempt = Attempt(claim, kind, params)
        self.held[claim.id] = attempt
        loaded = self.models.get(attempt)
        if loaded is not None:
            self.model_ready(attempt, loaded)

    def model_ready(self, attempt: Attempt, made: Loaded | JobError) -> None:
        """The attempt's model is loaded, or cannot be (the taker's or the loader's thread)."""
        if isinstance(made, Loaded):
            if not attempt.adopt(made):
                self.models.leave(made)
                return
            self.plant.bench.run_soon(Errand((attempt,), partial(self.fetch, attempt, made)))
        else:
            self._give_up(attempt, made)

    # -- fetch and decode (a hand) -----------------------------------------------------------------------------------

    def fetch(self, attempt: Attempt, loaded: Loaded) -> None:
        """Find the bytes of every input; then its items wait at the bench."""
        attempt.started_at = time.monotonic()
        inputs = Inputs(self.plant.storage, self._scratch(attempt), attempt.kind)
        try:
            sources = inputs.sources(attempt.claim.inputs) or [Source()]
        except Exception as error:
            self._give_up(attempt, as_job_error(error, "fetch"))
            return
        attempt.warnings += inputs.warnings
        attempt.begin(sources)
        loaded.batcher.expect(len(sources))
        self.plant.bench.put(attempt, loaded.batcher)

    def decode(self, unit: Unit) -> None:
        """Bytes to what the model takes; a bad item fails alone."""
        attempt = unit.attempt
        loaded, sources = attempt.model, attempt.sources
        assert loaded is not None
        assert sources is not None
        source = sources[unit.position]
        if attempt.ended or isinstance(source, JobError):
            loaded.batcher.expect(-1)
            self._settle(unit, source if isinstance(source, JobError) else JobError())
            return
        begun = time.monotonic()
        try:
            unit.decoded = loaded.predictor.decode(source, attempt.params)
        except Exception as error:
            loaded.batcher.expect(-1)
            self._item_failed(unit, as_job_error(error, "decode"))
            return
        _spend(attempt, "decode", time.monotonic() - begun)
        loaded.batcher.put(unit)

    # -- predict (workers/batcher.py), then encode and store (a hand) ----------------------------------------------

    def predicted(self, units: Sequence[Unit], outputs: Sequence[Any | JobError], seconds: float) -> None:
        """A batch came back (the batcher's thread): share it out for encoding."""
        portion = max(1, int(ERRAND_S / self._encode_s))
        self._measure(units, seconds)
        for unit, output in zip(units, outputs, strict=True):
            unit.output = output
            unit.attempt.spend("predict_s", seconds / len(units))
        for first in range(0, len(units), portion):
            some = units[first : first + portion]
            attempts = tuple({unit.attempt: None for unit in some})
            self.plant.bench.run_soon(Errand(attempts, partial(self.encode, some)))

    def _measure(self, units: Sequence[Unit], seconds: float) -> None:
        """A batch is of one model, and so of one kind."""
        attempt = units[0].attempt
        assert attempt.model is not None
        PHASE.labels(attempt.claim.kind, "predict").observe(seconds)
        self.batches.count(attempt.claim.kind, name_of(attempt.model.pinned), len(units))

    def encode(self, units: Sequence[Unit]) -> None:
        """Outputs to entries of the results and files; the files are stored under the fence before anything counts."""
        begun = time.monotonic()
        made: list[tuple[Unit, Encoded]] = []
        for unit in units:
            if isinstance(unit.output, JobError):
                self._item_failed(unit, unit.output)
            elif not unit.attempt.ended:
                encoded = self._encode(unit)
                made += [(unit, encoded)] if encoded is not None else []
        each = (time.monotonic() - begun) / max(1, len(units))
        self._encode_s += 0.1 * (max(each, 1e-5) - self._encode_s)
        self._store(made)
        last = [unit.attempt for unit, encoded in made if unit.attempt.settle(unit.position, encoded.item)]
        self.end(*map(self._conclude, last))

    def _encode(self, unit: Unit) -> Encoded | None:
        loaded = unit.attempt.model
        assert loaded is not None
        begun = time.monotonic()
        try:
            encoded = loaded.predictor.encode(unit.decoded, unit.output, unit.position)
        except Exception as error:
            self._item_failed(unit, as_job_error(error, "encode"))
            return None
        _spend(unit.attempt, "encode", time.monotonic() - begun)
        unit.decoded = unit.output = None
        return encoded

    def _store(self, made: list[tuple[Unit, Encoded]]) -> None:
        """Write the files; where the storage fails, the jobs concerned are tried again later."""
        files = [(unit.attempt, one) for unit, encoded in made for one in encoded.artifacts]
        if not files:
            return
        try:
            self.plant.storage.put_artifacts([(a.id, a.claim.fence, f.name, f.content) for a, f in files])
        except Exception as error:
            coded = as_job_error(error, "store")
            for attempt in {id(attempt): attempt for attempt, _ in files}.values():
                self._give_up(attempt, coded)
            return
        for attempt, file in files:
            attempt.artifacts.append(StoredArtifact(file.name, file.media_type, file.size, file.item))

    # -- complete (a hand composes, workers/ending.py commits) --------------------------------------------------------

    def _conclude(self, attempt: Attempt) -> Ending:
        """Every item is settled: succeeded if any item is, else failed."""
        errors = [(position, item) for position, item in enumerate(attempt.items) if isinstance(item, JobError)]
        if len(errors) == len(attempt.items):
            return failed(attempt, _all_failed([error.as_dict(item=position) for position, error in errors]))
        loaded, claim = attempt.model, attempt.claim
        assert loaded is not None
        timings = {name: round(seconds, 6) for name, seconds in attempt.timings.items()}
        timings["total_s"] = round(time.monotonic() - attempt.taken_at, 6)
        origin = provenance(
            claim, loaded.used, self.plant.worker_id, {**loaded.facts, **squeezed(attempt), "timings": timings}
        )
        items = [item_entry(item, position) for position, item in enumerate(attempt.items)]
        warnings = attempt.warnings + said(attempt) + [warning(error, position) for position, error in errors]
        files = sorted(attempt.artifacts, key=lambda file: (file.item is not None, file.item or 0, file.name))
        body = result(claim, items, files, warnings, origin)
        return Ending(attempt, Completion(claim.id, claim.fence, State.SUCCEEDED, body, files))

    # -- ways to end early (any thread) ----------------------------------------------------------------------------

    def end(self, *endings: Ending) -> None:
        """Commit how attempts ended; whoever ends one first is heard."""
        first = [ending for ending in endings if ending.attempt.finish()]
        for ending in first:
            self._drop_waiting(ending.attempt)
        if first:
            self.endings.put(first)

    def cancel(self, job_id: str) -> None:
        """Its caller wants the job no more."""
        attempt = self.held.get(job_id)
        if attempt is not None:
            self.end(cancelled(attempt))

    def lose(self, job_id: str) -> None:
        """The lease ran out and the job is another's: say nothing more about it."""
        attempt = self.held.get(job_id)
        if attempt is not None:
            self.end(Ending(attempt, None))

    def time_out(self, attempt: Attempt) -> None:
        """The job ran longer than it may."""
        self.end(failed(attempt, JobTimeout(timeout_s=attempt.claim.timeout_s)))

    def hand_back(self, attempts: Sequence[Attempt]) -> None:
        """Drained: uncharged, and at once free for another worker."""
        self.end(*(back_to_queue(attempt, Outcome.DRAINED, None, self.plant.settings) for attempt in attempts))

    def forget(self, ids: Sequence[str]) -> None:
        """Their ends are committed."""
        for job_id in ids:
            attempt = self.held.pop(job_id, None)
            if attempt is None:
                continue
            if attempt.model is not None:
                self.models.leave(attempt.model)
            if any(isinstance(one, dict) and "archive" in one for one in attempt.claim.inputs):
                shutil.rmtree(self._scratch(attempt), ignore_errors=True)
        with self._left:
            self._left.notify_all()

    def wait_until_empty(self, seconds: float) -> bool:
        """Wait until nothing is held; False when `seconds` were not enough."""
        with self._left:
            return self._left.wait_for(lambda: not self.held, seconds)

    def _item_failed(self, unit: Unit, error: JobError) -> None:
        if error.retryable:
            self._give_up(unit.attempt, error)
        else:
            self._settle(unit, error)

    def _settle(self, unit: Unit, error: JobError) -> None:
        if unit.attempt.settle(unit.position, error):
            self.end(self._conclude(unit.attempt))

    def _give_up(self, attempt: Attempt, error: JobError) -> None:
        if isinstance(error, OutOfMemory | ModelTooLarge):
            self.end(self.placement.short_of_memory(attempt, error))
        elif error.retryable:
            self.end(back_to_queue(attempt, Outcome.RETRIED, error, self.plant.settings))
        else:
            self.end(failed(attempt, error))

    def _drop_waiting(self, attempt: Attempt) -> None:
        """Items of an ended attempt that no hand took will not come to the batcher."""
        if attempt.model is not None:
            with self.plant.bench.lock:
                left = attempt.skip()
            if left:
                attempt.model.batcher.expect(-left)

    def _scratch(self, attempt: Attempt) -> Path:
        return self.plant.scratch / f"{attempt.id}-{attempt.claim.fence}"


def _spend(attempt: Attempt, phase: str, seconds: float) -> None:
    """For the result's provenance, and for the metrics."""
    attempt.spend(f"{phase}_s", seconds)
    PHASE.labels(attempt.claim.kind, phase).observe(seconds)


def _all_failed(errors: list[dict[str, Any]]) -> AllItemsFailed:
    """The job's error; a job of one item says at once what was wrong with it."""
    shown = errors[:MOST_ERRORS]
    if len(errors) == 1:
        return AllItemsFailed(errors[0]["detail"], item_errors=shown)
    return AllItemsFailed(item_errors=shown, item_errors_total=len(errors))
