"""A data set for kinds that need one, registered as the job of its kind leaves it."""

from __future__ import annotations

from typing import Any

from db import datasets, jobs
from db.records import Completion
from jobs.states import State
from models.data.canonical import dump, fingerprint, ordered
from models.data.formats.medmnist import read
from models.data.options import MedmnistOptions
from tests.services.workers import Stack


def ready(stack: Stack, name: str, npz: bytes) -> dict[str, Any]:
    """The pin of a data set made of a MedMNIST npz."""
    path = stack.folder / f"{name}.npz"
    path.write_bytes(npz)
    cases = ordered(read([path], MedmnistOptions()))
    new = stack.new([], "dataset")
    datasets.create(stack.db, new, name, "0" * 64, max_queued=10)
    (claim,) = jobs.claim(stack.db, [new.id], "w", 60, "inference")
    files = dump(cases)
    stack.storage.put_artifacts([(new.id, claim.fence, file, content) for file, content in files.items()])
    item = {"format": "medmnist", "fingerprint": fingerprint(cases), "counts": cases.counts(), "files": sorted(files)}
    done = Completion(new.id, claim.fence, State.SUCCEEDED, {"items": [item], "provenance": {}})
    assert jobs.complete(stack.db, [done]) == {new.id}
    return {"id": new.id, "name": name, "fingerprint": item["fingerprint"]}
