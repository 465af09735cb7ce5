"""The model registry's rows: numbers, registration under the fence, aliases with history, and what retention spares."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import pytest

from db import audit, callers, files, jobs, models, reading, retention
from db.engine import Database
from db.records import Claim, Completion, NewVersionRow, Release, VersionFile
from db.refusals import NotOwner, OtherKind
from jobs.states import Outcome, State
from tests.jobs_in_a_database import caller, new_job, running


def file(body: bytes, path: str = "weights.safetensors") -> VersionFile:
    return VersionFile(path, f"sha256:{hashlib.sha256(body).hexdigest()}", len(body))


def content(body: bytes) -> str:
    return hashlib.sha256(b"files of " + body).hexdigest()


def reserve(db: Database, claim: Claim, body: bytes, name: str = "lung") -> models.Reserved | None:
    return models.reserve(db, claim.id, claim.fence, name=name, kind="diagnosis", content=content(body))


def trained(claim: Claim, number: int, body: bytes, name: str = "lung") -> Completion:
    version = NewVersionRow(name, number, content(body), {"summary": body.decode()}, [file(body)])
    return Completion(claim.id, claim.fence, State.SUCCEEDED, {"items": [{}]}, version=version)


def register(db: Database, body: bytes, name: str = "lung", **more: Any) -> int:
    added = models.add(
        db, name=name, kind="diagnosis", caller_id=caller(db), content=content(body), manifest={"summary": "s"},
        files=[file(body)], **more,
    )  # fmt: skip
    return added.number


def test_given_a_reserved_number_when_its_job_completes_then_the_version_is_ready_and_the_candidate(
    database: Database,
) -> None:
    [claim] = running(database)

    reserved = reserve(database, claim, b"one")
    assert reserved == models.Reserved(1, False)
    assert models.get(database, "lung", 1) is None, "a reserved version cannot be used"
    assert models.models(database) == []

    assert jobs.complete(database, [trained(claim, 1, b"one")]) == {claim.id}

    version = models.get(database, "lung", 1)
    assert version is not None
    assert (version.kind, version.manifest, version.job_id) == ("diagnosis", {"summary": "one"}, claim.id)
    assert models.pin(database, "lung", "candidate") == models.Pin("lung", 1, "diagnosis")
    assert models.pin(database, "lung", "production") is None
    assert models.files(database, "lung", 1) == [file(b"one")]
    assert ("register", "lung@1") in [(act.action, act.object) for act in audit.listing(database)]


def test_given_a_job_that_lost_its_lease_when_it_completes_late_then_nothing_is_registered(database: Database) -> None:
    [stale] = running(database)
    assert reserve(database, stale, b"stale") == models.Reserved(1, False)
    jobs.release(database, [Release(stale.id, stale.fence, Outcome.DRAINED, charge=False)])
    [fresh] = jobs.claim(database, [stale.id], "w2", 30.0, "inference")

    assert reserve(database, stale, b"stale") is None
    assert jobs.complete(database, [trained(stale, 1, b"stale")]) == set()
    assert models.versions(database) == []

    assert reserve(database, fresh, b"fresh") == models.Reserved(1, False), "the job keeps its number"
    jobs.complete(database, [trained(fresh, 1, b"fresh")])
    assert [v.manifest["summary"] for v in models.versions(database)] == ["fresh"]


def test_given_a_completion_that_is_repeated_then_the_version_is_registered_once(database: Database) -> None:
    [claim] = running(database)
    reserve(database, claim, b"one")

    assert jobs.complete(database, [trained(claim, 1, b"one")]) == {claim.id}
    assert jobs.complete(database, [trained(claim, 1, b"one")]) == {claim.id}

    assert len(models.versions(database)) == 1
    assert len(models.history(database, "lung")) == 1


def test_given_a_training_that_ends_in_the_same_files_then_it_is_the_version_that_is_there(database: Database) -> None:
    first, second = running(database, 2)
    reserve(database, first, b"same")
    jobs.complete(database, [trained(first, 1, b"same")])

    assert reserve(database, second, b"same") == models.Reserved(1, True)
    assert reserve(database, second, b"other") == models.Reserved(2, False)


def test_given_many_jobs_that_reserve_at_once_then_no_two_get_one_number(database: Database) -> None:
    claims = running(database, 8)
    taken: list[int] = []

    def take(claim: Claim) -> None:
        reserved = reserve(database, claim, claim.id.encode())
        assert reserved is not None
        taken.append(reserved.number)

    threads = [threading.Thread(target=take, args=(claim,)) for claim in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(taken) == list(range(1, 9))


def test_given_a_name_of_another_kind_then_it_is_refused_by_name(database: Database) -> None:
    register(database, b"one")
    [claim] = running(database)

    with pytest.raises(OtherKind, match="diagnosis"):
        models.reserve(database, claim.id, claim.fence, name="lung", kind="prediction", content=content(b"x"))


def test_given_a_name_that_another_caller_took_first_then_only_an_administrator_adds_to_it(database: Database) -> None:
    [mine] = running(database)
    [theirs] = jobs.insert(database, [new_job(caller(database, "rival"))], max_queued=9)
    [rival] = jobs.claim(database, [theirs.id], "w1", 30.0, "inference")

    assert reserve(database, rival, b"theirs") == models.Reserved(1, False)
    with pytest.raises(NotOwner):
        reserve(database, mine, b"mine")
    assert models.owner(database, "lung") == ("diagnosis", caller(database, "rival"))

    # Given a token that expired while the training ran, then its caller is an administrator still
    callers.create_token(database, "imaging-lab", ["admin"], expires_in_s=-1.0)
    assert reserve(database, mine, b"mine") == models.Reserved(2, False)
    [token] = callers.list_tokens(database, "imaging-lab")
    callers.revoke(database, token.id)
    with pytest.raises(NotOwner):
        reserve(database, mine, b"mine")


def test_given_a_result_that_json_cannot_carry_then_its_version_is_not_registered(database: Database) -> None:
    [claim] = running(database)
    reserve(database, claim, b"one")
    broken = trained(claim, 1, b"one")._replace(result={"items": [float("nan")]})

    assert jobs.complete(database, [broken]) == {claim.id}

    assert models.versions(database) == []


def test_given_promotions_then_history_tells_who_moved_what_from_where_and_why(database: Database) -> None:
    one, two = register(database, b"one"), register(database, b"two")
    mine = caller(database, "researcher")

    assert models.move_alias(database, "lung", "production", one, caller_id=mine) == models.Moved(None, 1)
    moved = models.move_alias(
        database, "lung", "production", two, caller_id=mine, reason="better", gate={"passed": True}, expected=1
    )
    assert moved == models.Moved(1, 2)
    assert models.move_alias(database, "lung", "production", two, caller_id=mine) == models.Moved(2, 2)
    assert models.move_alias(database, "lung", "production", one, caller_id=mine, expected=1) is None, "judged on 1"
    assert models.move_alias(database, "lung", "production", one, caller_id=mine, expected=None) is None, (
        "not the first"
    )
    assert models.move_alias(database, "lung", "production", 9, caller_id=mine) is None

    told = models.history(database, "lung", "production")
    assert [(m.before, m.after, m.by, m.reason, m.gate) for m in told] == [
        (1, 2, "researcher", "better", {"passed": True}),
        (None, 1, "researcher", None, None),
    ]
    assert models.pin(database, "lung", "production") == models.Pin("lung", 2, "diagnosis")
    assert models.models(database, name="lung")[0].aliases == {"candidate": 2, "production": 2}


def test_given_references_to_nothing_then_there_is_no_pin(database: Database) -> None:
    register(database, b"one")

    for name, which in (("lung", "2"), ("lung", "99999999999999999999"), ("lung", "nope"), ("liver", "1")):
        assert models.pin(database, name, which) is None
    assert models.get(database, "lung", 10**12) is None
    assert models.owner(database, "liver") is None
    assert models.owner(database, "lung") == ("diagnosis", caller(database))


def test_given_a_gate_then_it_is_kept_until_it_is_taken_away(database: Database) -> None:
    register(database, b"one")
    mine = caller(database)

    assert models.set_gate(database, "lung", {"metric": "auc", "margin": 0.0}, caller_id=mine)
    assert models.models(database)[0].gate == {"metric": "auc", "margin": 0.0}
    assert models.set_gate(database, "lung", None, caller_id=mine)
    assert models.models(database)[0].gate is None
    assert not models.set_gate(database, "liver", None, caller_id=mine)


def test_given_the_job_behind_a_version_when_all_is_due_then_its_record_stays_and_its_deletion_is_refused(
    database: Database,
) -> None:
    claim, other = running(database, 2)
    reserve(database, claim, b"one")
    jobs.complete(database, [trained(claim, 1, b"one"), Completion(other.id, other.fence, State.CANCELLED)])

    refused = retention.delete_job(database, claim.id, None)
    assert (refused.deleted, refused.state, refused.in_use) == (False, State.SUCCEEDED, True)
    assert retention.purge_records(database, older_s=-1.0) == [other.id]
    assert reading.get(database, claim.id) is not None


def test_given_the_bytes_of_a_version_then_the_sweep_spares_them(database: Database) -> None:
    register(database, b"kept")
    mine, idle = caller(database), file(b"idle")
    files.add(database, mine, idle.digest, idle.size, "application/octet-stream")
    files.forget(database, mine, idle.digest)

    gone = retention.sweep_blobs(database, grace_s=-1.0, remove=lambda digest: True)

    assert gone == [idle.digest]
