"""Compares what the outside knows with what the system holds, by SQL and by looking at the files.

It shares no code with what it judges: no query of db/, no state machine, no path rule.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, bindparam, text

from tests.torture.ledger import Entry, Ledger

LOST, DOUBLED, WRONG, FENCE, FILES, CALLS, KEYS = "lost", "doubled", "wrong", "fence", "files", "calls", "keys"
"""The sorts of violation."""


@dataclass(frozen=True)
class Violation:
    """One broken promise."""

    sort: str
    key: str
    text: str


@dataclass
class Held:
    """What the system holds of one job."""

    state: str
    fence: int
    error: Any
    kind: str
    callback: bool
    created_at: float = 0.0
    attempts: list[Mapping[str, Any]] = field(default_factory=list)
    events: list[tuple[int, str, Any]] = field(default_factory=list)
    results: list[tuple[int, Any]] = field(default_factory=list)
    artifacts: dict[str, int] = field(default_factory=dict)


def read(engine: Engine, ids: Sequence[str]) -> dict[str, Held]:
    """All that the database holds of these jobs."""
    held: dict[str, Held] = {}
    with engine.connect() as connection:
        for first in range(0, len(ids), 500):
            some = {"ids": list(ids[first : first + 500])}

            def rows(statement: str, some: dict[str, list[str]] = some) -> Sequence[Any]:
                asked = text(statement).bindparams(bindparam("ids", expanding=True))
                return connection.execute(asked, some).all()

            for row in rows("SELECT * FROM jobs WHERE id IN :ids"):
                called = row.callback_url is not None
                held[row.id] = Held(row.state, row.fence, _json(row.error), row.kind, called, row.created_at)
            for row in rows("SELECT * FROM attempts WHERE job_id IN :ids ORDER BY job_id, number"):
                held[row.job_id].attempts.append(dict(row._mapping))
            for row in rows("SELECT id, job_id, type, data FROM events WHERE job_id IN :ids ORDER BY id"):
                held[row.job_id].events.append((row.id, row.type, _json(row.data)))
            for row in rows("SELECT job_id, fence, result FROM results WHERE job_id IN :ids"):
                held[row.job_id].results.append((row.fence, _json(row.result)))
            for row in rows("SELECT job_id, name, size FROM artifacts WHERE job_id IN :ids"):
                held[row.job_id].artifacts[row.name] = row.size
    return held


def judge(ledger: Ledger, phase: str, held: Mapping[str, Held], files: Path, commits: Path) -> list[Violation]:
    """Every broken promise of a phase. `files`: the storage's folder; `commits`: what the processes witnessed."""
    entries = ledger.of(phase)
    found = [
        *_keys(entries),
        *(violation for entry in entries if entry.ids for violation in _job(entry, held.get(entry.ids[0]))),
        *_witnessed(entries, commits),
        *(violation for entry in entries if entry.ids for violation in _stored(entry, held, files)),
        *_calls(entries, held, ledger),
    ]
    return sorted(set(found), key=lambda one: (one.sort, one.key, one.text))


def strangers(engine: Engine, ledger: Ledger, files: Path) -> list[Violation]:
    """What is there and nobody's: every caller asks until it is answered, so each job is somebody's; a folder of a job
    without a row; a row of bytes that are not there."""
    known = {one for entry in ledger.entries.values() for one in entry.ids}
    with engine.connect() as connection:
        jobs = set(connection.execute(text("SELECT id FROM jobs")).scalars())
        digests = connection.execute(text("SELECT digest FROM blobs")).scalars().all()
    folders = {path.name for path in (files / "jobs").glob("*")}
    names = [digest.removeprefix("sha256:") for digest in digests]
    gone = [name for name in names if not (files / "blobs" / name[:2] / name[2:]).is_file()]
    return [
        *(Violation(DOUBLED, one, "a job that no answer named") for one in sorted(jobs - known)),
        *(Violation(FILES, one, "a folder of a job without a row") for one in sorted(folders - jobs)),
        *(Violation(FILES, one, "a row of an uploaded file without its bytes") for one in sorted(gone)),
    ]


def lost_or_kept(entry: Entry, state: str | None) -> bool:
    """Whether the state is one that the entry may end in."""
    return state == entry.order.ends or (entry.cancelled and state == "cancelled")


def _keys(entries: Iterable[Entry]) -> Iterator[Violation]:
    for entry in entries:
        if not entry.ids and not entry.refused:
            yield Violation(KEYS, entry.key, "neither answered nor refused")
        if entry.refused:
            yield Violation(KEYS, entry.key, f"refused: {entry.refused}")
        if len(set(entry.ids)) > 1:
            yield Violation(DOUBLED, entry.key, f"one key, {len(set(entry.ids))} jobs")


def _job(entry: Entry, job: Held | None) -> Iterator[Violation]:
    """One job against its order."""
    if job is None:
        yield Violation(LOST, entry.key, "accepted, and there is no row")
        return
    if not lost_or_kept(entry, job.state):
        yield Violation(LOST, entry.key, f"is {job.state} ({(job.error or {}).get('code')}), not {entry.order.ends}")
        return
    ends = [data["state"] for _, sort, data in job.events if sort == "state" and data["state"] in FINAL]
    if ends != [job.state]:
        yield Violation(DOUBLED, entry.key, f"its events tell the ends {ends}")
    last = max((number for number, sort, data in job.events if sort == "state"), default=0)
    later = [sort for number, sort, _ in job.events if number > last]
    if later:
        yield Violation(FENCE, entry.key, f"{len(later)} events after its end")
    if job.state == "succeeded":
        yield from _result(entry, job)
    elif job.results or job.artifacts:
        yield Violation(DOUBLED, entry.key, f"{job.state}, and holds a result")
    lost = sum(attempt["outcome"] == "worker-lost" for attempt in job.attempts)
    if entry.order.code == "worker-crashed" and lost != 3:
        yield Violation(WRONG, entry.key, f"given up after {lost} dead workers, not 3")
    if job.state == "failed" and entry.order.code and (job.error or {}).get("code") != entry.order.code:
        yield Violation(WRONG, entry.key, f"failed with {job.error}")


def _result(entry: Entry, job: Held) -> Iterator[Violation]:
    if len(job.results) != 1:
        yield Violation(DOUBLED, entry.key, f"{len(job.results)} results")
        return
    ((fence, result),) = job.results
    won = [attempt for attempt in job.attempts if attempt["outcome"] == "succeeded"]
    if len(won) != 1:
        yield Violation(DOUBLED, entry.key, f"{len(won)} attempts succeeded")
        return
    origin = result["provenance"]
    if not (fence == job.fence == won[0]["fence"]):
        yield Violation(FENCE, entry.key, f"result under fence {fence}, job {job.fence}, attempt {won[0]['fence']}")
    if (origin["attempt"], origin["worker"]) != (won[0]["number"], won[0]["worker_id"]):
        yield Violation(FENCE, entry.key, f"committed by attempt {origin['attempt']}, won by {won[0]['number']}")
    if not _equal(list(entry.order.items or ()), _items(result["items"]), entry.order.tolerance):
        yield Violation(WRONG, entry.key, "its output is not that of the fault-free run")
    if entry.order.artifacts is not None and set(job.artifacts) != set(entry.order.artifacts):
        yield Violation(FILES, entry.key, f"artifacts {sorted(job.artifacts)}, not {sorted(entry.order.artifacts)}")


def _items(items: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The entries without what no order can know."""
    return [{name: value for name, value in item.items() if name not in _UNORDERED} for item in items]


def _witnessed(entries: Iterable[Entry], commits: Path) -> Iterator[Violation]:
    """No two processes were told that their completion of one job was the one."""
    keys = {entry.ids[0]: entry.key for entry in entries if entry.ids}
    fences: dict[str, set[tuple[int, int]]] = defaultdict(set)
    lines = commits.read_text().splitlines() if commits.exists() else []
    for line in lines:
        job_id, fence, pid = json.loads(line)
        fences[job_id].add((fence, pid))
    for job_id, seen in fences.items():
        if job_id in keys and len(seen) > 1:
            yield Violation(DOUBLED, keys[job_id], f"accepted under (fence, process) {sorted(seen)}")


def _stored(entry: Entry, held: Mapping[str, Held], files: Path) -> Iterator[Violation]:
    """Every row has its file with the right bytes, and every file a row."""
    job = held.get(entry.ids[0])
    folder = files / "jobs" / entry.ids[0]
    there = {path for path in folder.rglob("*") if path.is_file()} if folder.exists() else set()
    if job is None or job.state not in FINAL:
        return
    wanted = {folder / str(job.fence) / name: name for name in job.artifacts}
    for path, name in wanted.items():
        if path not in there:
            yield Violation(FILES, entry.key, f"the row of {name} has no file")
        elif path.stat().st_size != job.artifacts[name]:
            yield Violation(FILES, entry.key, f"{name} has another size than its row says")
        elif name in (entry.order.artifacts or {}) and path.read_bytes() != (entry.order.artifacts or {})[name]:
            yield Violation(FILES, entry.key, f"{name} holds other bytes")
    stray = sorted(there - set(wanted))
    if stray:
        yield Violation(FILES, entry.key, f"{len(stray)} files without a row, such as {stray[0].relative_to(folder)}")


def _calls(entries: Iterable[Entry], held: Mapping[str, Held], ledger: Ledger) -> Iterator[Violation]:
    """At least one call for each job that asked for it, and none that says anything but how it ended."""
    for entry in entries:
        job = held.get(entry.ids[0]) if entry.ids else None
        if job is None or job.state not in FINAL:
            continue
        calls = ledger.calls.get(entry.ids[0], [])
        if job.callback and not calls:
            yield Violation(CALLS, entry.key, "was never called back")
        if any(state != job.state for _, state in calls):
            yield Violation(CALLS, entry.key, f"called back with {Counter(state for _, state in calls)}")
        if len({webhook for webhook, _ in calls}) > 1:
            yield Violation(CALLS, entry.key, "two different calls for one end")


def _equal(ordered: Any, made: Any, tolerance: float) -> bool:
    if isinstance(ordered, (int, float)) and isinstance(made, (int, float)) and not isinstance(ordered, bool):
        return math.isclose(ordered, made, rel_tol=0, abs_tol=tolerance) if tolerance else ordered == made
    if isinstance(ordered, Mapping) and isinstance(made, Mapping):
        return set(ordered) == set(made) and all(_equal(ordered[k], made[k], tolerance) for k in ordered)
    if isinstance(ordered, (list, tuple)) and isinstance(made, (list, tuple)):
        return len(ordered) == len(made) and all(map(_equal, ordered, made, [tolerance] * len(made)))
    return bool(ordered == made)


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


FINAL = frozenset({"succeeded", "failed", "cancelled"})

_UNORDERED = frozenset({"devices", "rows", "parent"})
"""Members of the toys' entries that say where they ran."""
