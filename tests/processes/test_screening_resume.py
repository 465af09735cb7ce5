"""A large file on the true long worker: killed in the middle, the job goes on where it was, and every line is there."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from db import reading
from models.catalogue import Catalogue
from registry.shipped import import_shipped
from tests.screening_data import smiles, version
from tests.services.redis import RedisServer
from tests.services.workers import Stack

LINES = 12_000


@pytest.fixture
def stack(tmp_path: Path, sqlite_url: str, redis_server: RedisServer) -> Iterator[Stack]:
    # Loading RDKit and torch on a busy machine takes longer than the lease that most tests have.
    made = Stack(tmp_path / "stack", sqlite_url, redis_server.url, lease_long_s=20)
    yield made
    made.stop()


@pytest.mark.slow
def test_given_a_worker_killed_in_the_middle_of_a_file_then_the_job_goes_on_and_every_line_stands_there_once(
    stack: Stack, tmp_path: Path
) -> None:
    made = version(tmp_path / "model")
    import_shipped(stack.db, stack.storage, Catalogue({"made-up": {1: made}}, {"made-up": {"production": 1}}))
    every = smiles()
    lines = [f"{every[n % len(every)]}{'C' * (n // len(every))} m{n}" for n in range(LINES)]
    lines[7] = "broken m7"
    given = stack.put("\n".join(lines).encode())
    new = stack.new(
        [given], "screening", "long", params={"top": 5, "explain": False}, model_name="made-up", model_version=1,
        timeout_s=1800.0,
    )  # fmt: skip
    stack.worker("long")
    stack.keeper()
    (job_id,) = stack.submit(new)

    def saved() -> bool:
        return stack.storage.checkpoints(job_id, stack.view(job_id).fence).newest() is not None

    stack.until(saved, 400)
    (child,) = stack.children()
    child.kill()
    (job,) = stack.wait([job_id], 600)

    assert job.state == "succeeded", job.error
    assert len(job.attempts) == 2
    logs = [event.data["message"] for event in reading.events(stack.db, job_id) if event.type == "log"]
    (went_on,) = (message for message in logs if message.startswith("goes on after line"))
    assert 0 < int(went_on.split()[4].rstrip(",")) < LINES
    table = pl.read_csv(io.BytesIO(stack.storage.read_artifact(job_id, job.fence, "table.csv")))
    assert sorted(table["line"]) == list(range(1, LINES + 1))
    assert table.filter(pl.col("error").is_not_null())["line"].to_list() == [8]
    parquet = pl.read_parquet(io.BytesIO(stack.storage.read_artifact(job_id, job.fence, "table.parquet")))
    assert parquet["line"].to_list() == table["line"].to_list()
    assert parquet["given"].to_list() == [lines[line - 1].split()[0] for line in parquet["line"]]
    counts = stack.result(job_id)["provenance"]["counts"]
    assert counts["lines"] == LINES
    assert counts["failed"] == 1
