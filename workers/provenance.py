"""What stands in a result beside its items: enough to run the job again, and the list of its files."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from db.records import Claim, StoredArtifact
from jobs.errors import JobError
from jobs.predicting import ModelVersion
from jobs.results import DISCLAIMER
from registry.versions import Registry
from workers import machine
from workers.inputs import digests

REPORT = "report.html"


@cache
def code_version() -> str:
    """The version of medjobs that runs here."""
    try:
        return version("medjobs")
    except PackageNotFoundError:
        return "source"


@dataclass(frozen=True)
class Used:
    """The model version that a job ran with: its files as a whole are known by `content`, a hash."""

    version: ModelVersion
    content: str

    @classmethod
    def of(cls, registry: Registry, name: str, number: int) -> Used:
        """The version with its files on this host; raises `UnknownModel` and what `Registry.local` raises."""
        return cls(registry.local(name, number), registry.get(name, number).content)


def provenance(claim: Claim, used: Used | None, worker_id: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """All that shaped the numbers of a result, for the inference pool and the long pool alike.

    `facts`: what the predictor or runner says of itself (device, precision, threads, libraries), and timings. What it
    does not say of the machine is found out here.
    """
    found: dict[str, Any] = {
        "kind": claim.kind,
        "model": None if used is None else {"name": used.version.name, "version": used.version.version},
        "model_content": None if used is None else used.content,
        "weights_sha256": None if used is None else used.version.weights_sha256,
        "inputs": digests(claim.inputs),
        "params": claim.params,
        "pins": claim.pins or {},
        "seed": claim.seed,
        "code_version": code_version(),
        "attempt": claim.attempt,
        "worker": worker_id,
        "finished_at": time.time(),
        **machine.facts(facts),
    }
    found["libraries"] = {"python": platform.python_version(), "medjobs": code_version(), **found["libraries"]}
    return found


def result(
    claim: Claim,
    items: list[dict[str, Any]],
    artifacts: list[StoredArtifact],
    warnings: list[str],
    origin: dict[str, Any],
) -> dict[str, Any]:
    """The common part of every result, as jobs.results.Result gives it."""
    model = None if claim.model_name is None else {"name": claim.model_name, "version": claim.model_version}
    files = [_link(claim.id, one) for one in artifacts]
    return {
        "kind": claim.kind,
        "model": model,
        "items": items,
        # Drawn from the result when it is asked for; every job has one.
        "artifacts": [*files, _link(claim.id, StoredArtifact(REPORT, "text/html", 0))],
        "warnings": warnings,
        "provenance": origin,
        "disclaimer": DISCLAIMER,
    }


def item_entry(outcome: dict[str, Any] | JobError | None, position: int) -> dict[str, Any]:
    """An item's entry: what the kind made, or `{"error": ...}`."""
    if isinstance(outcome, dict):
        return outcome
    return {"error": (outcome or JobError()).as_dict(item=position)}


def warning(error: JobError, position: int) -> str:
    """The sentence by which a result names an item that failed."""
    return f"item {position}: {error.code}: {error.detail}"


def _link(job_id: str, artifact: StoredArtifact) -> dict[str, Any]:
    link = href(job_id, artifact.name)
    return {"name": artifact.name, "media_type": artifact.media_type, "href": link, "item": artifact.item}


def href(job_id: str, name: str) -> str:
    """Where the API serves an artifact."""
    return f"/v1/jobs/{job_id}/artifacts/{name}"
