"""The commands against the real API in this process: what they print, and with which exit code they end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from werkzeug.serving import make_server

from api.app import create_app
from api.services import EXTENSION
from db import callers, jobs, schema, workers
from db.engine import Database
from db.records import Completion, StoredArtifact
from jobs.settings import Settings
from jobs.states import State
from medjobs.main import main
from tests.jobs_in_a_database import queued, running

CONTROL = "\x1b[31m"


@dataclass
class Here:
    """A served API, its database, and the commands as a user would type them."""

    db: Database
    app: object
    home: Path

    def run(self, *typed: str) -> Result:
        return CliRunner().invoke(main, list(typed))

    def storage(self):  # type: ignore[no-untyped-def]
        return self.app.extensions[EXTENSION].storage  # type: ignore[attr-defined]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    for name in ("MEDJOBS_URL", "MEDJOBS_TOKEN", "MEDJOBS_DATABASE_URL", "MEDJOBS_REDIS_URL", "MEDJOBS_STORAGE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MEDJOBS_HOME", str(tmp_path))
    settings = Settings(home=tmp_path)
    schema.upgrade(settings.database)
    database = Database(settings.database)
    app = create_app(settings)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    (tmp_path / "url").write_text(f"http://127.0.0.1:{server.server_port}\n")
    (tmp_path / "token").write_text(callers.create_token(database, "admin", ["admin"]))
    yield Here(database, app, tmp_path)
    server.shutdown()
    thread.join()
    server.server_close()
    app.extensions[EXTENSION].close()
    database.close()


def a_diagnosis(here: Here, kind: str = "diagnosis") -> str:
    """A job that a worker has done: one image with a finding and a picture, one that failed."""
    (claim,) = running(here.db, kind=kind, labels={"study": "A"}, model_name="chest-pneumonia", model_version=1)
    finding = {"label": "pneumonia", "probability": 0.9312, "decision": "positive", "threshold": 0.5, "regions": []}
    uncertainty = {"entropy": 0.36, "ood_score": 0.4, "in_distribution": True, "abstain": False, "reason": None}
    evidence = {"label": "pneumonia", "boxes": [], "artifact": "0-pneumonia.png", "audit": "passed"}
    good = {"findings": [finding], "prediction_set": [], "uncertainty": uncertainty, "evidence": [evidence]}
    bad = {"error": {"code": "no-pixel-data", "title": "", "detail": "Send an image.", "retryable": False, "item": 1}}
    href = f"/v1/jobs/{claim.id}/artifacts/0-pneumonia.png"
    artifact = {"name": "0-pneumonia.png", "media_type": "image/png", "href": href, "item": 0}
    result = {
        "kind": kind, "model": {"name": "chest-pneumonia", "version": 1}, "items": [good, bad],
        "artifacts": [artifact], "warnings": [], "provenance": {}, "disclaimer": "Research use only.",
    }  # fmt: skip
    here.storage().put_artifact(claim.id, claim.fence, "0-pneumonia.png", b"\x89PNG picture")
    stored = [StoredArtifact("0-pneumonia.png", "image/png", 12, 0)]
    assert jobs.complete(here.db, [Completion(claim.id, claim.fence, State.SUCCEEDED, result, stored)]) == {claim.id}
    return claim.id


def test_jobs_lists_what_there_is_newest_first_and_filters(here: Here) -> None:
    done = a_diagnosis(here)
    (waiting,) = queued(here.db, labels={"study": "B"})
    shown = here.run("jobs")
    assert shown.exit_code == 0
    assert shown.output.index(waiting) < shown.output.index(done)
    assert "chest-pneumonia@1" in shown.output
    listed = json.loads(here.run("jobs", "--json", "--label", "study=B").output)
    assert [job["id"] for job in listed] == [waiting]
    assert json.loads(here.run("jobs", "--json", "--since", "1h", "--state", "succeeded").output)[0]["id"] == done


def test_every_screen_is_at_most_100_columns_wide_without_a_terminal(here: Here) -> None:
    done = a_diagnosis(here)
    for typed in (["jobs"], ["show", done], ["workers"], ["models"], ["--help"], ["submit", "--help"]):
        assert max(map(len, here.run(*typed).output.splitlines())) <= 100


def test_show_tells_each_attempt_with_worker_and_why_it_ended(here: Here) -> None:
    (claim,) = running(here.db, worker="gpu7:inference:0:abc", lease_s=0.0)
    jobs.expire_leases(here.db, worker_dead_s=20, max_crashes=3, limit=10)
    shown = here.run("show", claim.id).output
    assert "gpu7:inference:0:abc" in shown
    assert "lease-expired" in shown
    assert "queued" in shown


def test_show_of_a_diagnosis_prints_the_finding_and_the_failed_item(here: Here) -> None:
    shown = here.run("show", a_diagnosis(here)).output
    assert "0.931" in shown
    assert "positive" in shown
    assert "no-pixel-data: Send an image." in shown
    assert "Research use only" in shown


def test_the_beginning_of_an_id_is_enough_where_only_one_job_has_it(here: Here) -> None:
    first, second = queued(here.db, 2)
    common = next(n for n in range(36) if first[n] != second[n])
    assert json.loads(here.run("show", "--json", first[: common + 1]).output)["id"] == first
    both = here.run("show", first[:common])
    assert both.exit_code == 1
    assert "2 jobs match" in both.output
    assert "Type more" in both.output
    assert json.loads(here.run("show", "--json", second[-8:]).output)["id"] == second


def test_an_id_that_nobody_has_ends_in_two_lines_and_exit_code_1(here: Here) -> None:
    unknown = here.run("show", "01980000-0000-7000-8000-000000000001")
    assert unknown.exit_code == 1
    assert unknown.output.splitlines()[0].startswith("medjobs: ")
    assert unknown.output.splitlines()[1].startswith("  do:  ")
    assert here.run("show", "no id at all").exit_code == 2


def test_cancel_ends_a_queued_job_and_refuses_one_that_has_ended(here: Here) -> None:
    (waiting,) = queued(here.db)
    assert here.run("cancel", waiting).output.strip() == f"{waiting}  cancelled"
    assert here.run("cancel", waiting).exit_code == 0
    ended = here.run("cancel", a_diagnosis(here))
    assert ended.exit_code == 1
    assert "already succeeded" in ended.output


def test_watch_replays_an_ended_job_and_its_exit_code_is_the_jobs(here: Here) -> None:
    watched = here.run("watch", a_diagnosis(here))
    assert watched.exit_code == 0
    assert "queued" in watched.output
    assert "succeeded" in watched.output.splitlines()[-1]
    (claim,) = running(here.db)
    error = {"code": "timeout", "title": "Timed out", "detail": "x", "retryable": False, "item": None}
    jobs.complete(here.db, [Completion(claim.id, claim.fence, State.FAILED, error=error)])
    failed = here.run("watch", "--json", claim.id)
    assert failed.exit_code == 1
    assert json.loads(failed.output.splitlines()[-1])["state"] == "failed"


def test_open_saves_the_report_where_only_its_owner_reads_it(here: Here) -> None:
    job_id = a_diagnosis(here, kind="plain")
    opened = here.run("open", job_id)
    assert opened.exit_code == 0, opened.output
    path = Path(opened.output.strip())
    assert path == here.home / "reports" / f"{job_id}.html"
    assert "<html" in path.read_text()[:500].lower()
    assert path.parent.stat().st_mode & 0o077 == 0


def test_names_with_control_characters_cannot_drive_the_terminal(here: Here) -> None:
    (job_id,) = queued(here.db, labels={"study": "A"}, kind=f"diag{CONTROL}")
    for typed in (["jobs"], ["show", job_id]):
        assert "\x1b" not in here.run(*typed).output


def test_a_token_is_shown_once_listed_without_its_secret_and_revoked(here: Here) -> None:
    made = here.run("token", "create", "imaging-lab", "--scope", "read", "--days", "7").output.strip()
    found = callers.authenticate(here.db, made)
    assert found is not None
    assert found.scopes == {"read"}
    listed = here.run("token", "list").output
    assert "imaging-lab" in listed
    assert made not in listed
    (mine,) = [t for t in json.loads(here.run("token", "list", "--json").output) if t["caller"] == "imaging-lab"]
    assert here.run("token", "revoke", str(mine["id"])).exit_code == 0
    assert callers.authenticate(here.db, made) is None
    assert here.run("token", "revoke", str(mine["id"])).exit_code == 1


def test_a_token_without_the_scope_is_refused_with_the_scope_that_is_needed(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDJOBS_TOKEN", callers.create_token(here.db, "reader", ["read"]))
    refused = here.run("cancel", *queued(here.db))
    assert refused.exit_code == 1
    assert "missing-scope" in refused.output or "not-found" in refused.output


def test_db_upgrade_says_where_the_database_was_and_is(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "already" in here.run("db", "upgrade").output
    monkeypatch.setenv("MEDJOBS_DATABASE_URL", f"sqlite:///{here.home / 'other.db'}")
    assert "was empty" in here.run("db", "upgrade").output
    monkeypatch.setenv("MEDJOBS_DATABASE_URL", "postgresql+psycopg://u:secret@127.0.0.1:9/x")
    down = here.run("db", "upgrade")
    assert down.exit_code == 1
    assert "secret" not in down.output
    assert "do:" in down.output


def test_a_bad_setting_is_named_with_what_is_wrong(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDJOBS_MAX_BATCH", "many")
    bad = here.run("doctor")
    assert bad.exit_code == 2
    assert "MEDJOBS_MAX_BATCH" in bad.output


def test_doctor_names_what_is_down_and_what_to_do(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDJOBS_REDIS_URL", "redis://127.0.0.1:9/0")
    checked = here.run("doctor", "--json")
    found = {check["name"]: check for check in json.loads(checked.output)}
    assert checked.exit_code == 1
    assert found["Redis"]["state"] == "fail"
    assert "MEDJOBS_REDIS_URL" in found["Redis"]["do"]
    assert found["database"]["state"] == found["storage"]["state"] == found["versions"]["state"] == "ok"
    assert found["server"]["state"] == "fail"
    assert "worker" in found["server"]["do"]
    monkeypatch.delenv("MEDJOBS_REDIS_URL")
    assert json.loads(here.run("doctor", "--json").output)[4]["state"] == "warn"


def test_doctor_sees_a_database_of_another_version(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    (here.home / "empty.db").touch()
    monkeypatch.setenv("MEDJOBS_DATABASE_URL", f"sqlite:///{here.home / 'empty.db'}")
    found = {check["name"]: check for check in json.loads(here.run("doctor", "--json").output)}
    assert found["database"]["state"] == "fail"
    assert "medjobs db upgrade" in found["database"]["do"]


def a_worker(here: Here, name: str, host: str) -> None:
    workers.register(here.db, workers.Worker(id=name, host=host, pid=1, pool="inference", device="cpu"))


def test_workers_lists_when_typed_alone_and_drains_one_worker_or_a_whole_host(here: Here) -> None:
    """Given three workers on two hosts, when a host is drained, then its two are told, and the third is not."""
    for name, host in (("gpu1:inference:0:a", "gpu1"), ("gpu1:long:0:b", "gpu1"), ("gpu2:inference:0:c", "gpu2")):
        a_worker(here, name, host)
    assert [len(json.loads(here.run("workers", "--json").output)["workers"])] == [3]
    assert "gpu2" in here.run("workers").output
    done = here.run("workers", "drain", "gpu1")
    assert (done.exit_code, done.output.count(" drains; it runs 0 jobs.")) == (0, 2)
    assert {one.id[:4] for one in workers.live(here.db, 20) if one.control == "drain"} == {"gpu1"}
    assert here.run("workers", "drain", "gpu2:inference:0:c").exit_code == 0
    assert {one.control for one in workers.live(here.db, 20)} == {"drain"}
    missing = here.run("workers", "drain", "gpu9")
    assert missing.exit_code == 1
    assert "gpu9" in missing.output


def test_drain_waits_for_the_last_of_a_host_and_tells_the_one_that_took_the_place_of_a_crashed_one(here: Here) -> None:
    a_worker(here, "gpu1:inference:0:a", "gpu1")

    def crash_and_come_again() -> None:
        while workers.live(here.db, 20)[0].control != "drain":
            time.sleep(0.02)
        a_worker(here, "gpu1:inference:0:b", "gpu1")
        workers.gone(here.db, "gpu1:inference:0:a")
        while workers.live(here.db, 20)[0].control != "drain":
            time.sleep(0.02)
        workers.gone(here.db, "gpu1:inference:0:b")

    host = threading.Thread(target=crash_and_come_again)
    host.start()
    done = here.run("workers", "drain", "gpu1", "--wait")
    host.join(20)
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "gpu1 has stopped.")
    assert workers.live(here.db, 20) == []
