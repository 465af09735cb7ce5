"""The Python client against servers that break: nothing is submitted twice, and every error says what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

import medjobs
from medjobs import client as module
from medjobs.client import Client, MedjobsError, WaitTimeout
from tests.unit.scripted_server import BROKEN, Answer, Seen, json_answer, scripted

ID = "01980000-0000-7000-8000-000000000001"


def job(state: str = "queued", number: int = 1) -> dict[str, object]:
    return {"id": f"01980000-0000-7000-8000-{number:012d}", "kind": "diagnosis", "state": state}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_pause", lambda attempt, retry_after: 0.01)


def in_turn(*answers: Answer) -> Callable[[Seen], Answer]:
    """The answers one after the other, the last one for ever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def test_a_submit_whose_answer_was_lost_is_repeated_under_the_same_key() -> None:
    # Given a server that takes the first request and breaks the connection
    with scripted(in_turn(BROKEN, json_answer(job(), 202))) as (url, seen), Client(url, "t") as client:
        # When a job is submitted
        made = client.submit("diagnosis", "sha256:" + "0" * 64)
    # Then the second request carries the key of the first, so that the server makes one job
    keys = [request.headers["idempotency-key"] for request in seen]
    assert made.id == ID
    assert len(keys) == 2
    assert keys[0] == keys[1]


def test_two_submits_have_two_keys() -> None:
    with scripted(in_turn(json_answer(job(), 202))) as (url, seen), Client(url, "t") as client:
        client.submit("diagnosis", {"data": {}})
        client.submit("diagnosis", {"data": {}})
    assert len({request.headers["idempotency-key"] for request in seen}) == 2


def test_a_batch_gives_each_job_a_key_that_a_retry_repeats() -> None:
    with scripted(in_turn(BROKEN, json_answer({"jobs": [job(), job(number=2)]}, 202))) as (url, seen):
        made = Client(url, "t").submit_many("diagnosis", ["sha256:" + "0" * 64, ["sha256:" + "1" * 64]])
    keys = [[one["idempotency_key"] for one in json.loads(request.body)["jobs"]] for request in seen]
    assert [one.id[-1] for one in made] == ["1", "2"]
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == 2


def test_an_upload_that_broke_is_sent_again_from_its_first_byte(tmp_path: Path) -> None:
    path = tmp_path / "chest.dcm"
    path.write_bytes(bytes(range(256)) * 3000)
    with scripted(in_turn(BROKEN, json_answer({"id": "sha256:aa"}, 201))) as (url, seen), Client(url, "t") as client:
        assert client.upload(path) == "sha256:aa"
    assert [request.body for request in seen][-1] == path.read_bytes()
    assert seen[-1].headers["authorization"] == "Bearer t"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again(status: int) -> None:
    with scripted(in_turn(json_answer({}, status, Retry_After="1"), json_answer(job()))) as (url, seen):
        assert Client(url, "t").job(ID).id == ID
    assert len(seen) == 2


def test_a_pause_is_what_the_server_asked_for_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert module._pause(0, "7") == 7.0
    assert module._pause(0, "86400") == 10.0
    assert 0.15 <= module._pause(0, None) <= 0.25
    assert module._pause(30, None) <= 6.25


def test_a_refusal_is_not_repeated_and_says_code_fields_and_remedy() -> None:
    errors = [{"pointer": "#/params/explain", "detail": "use true or false"}]
    problem = {"code": "invalid-request", "title": "Invalid request", "detail": "Correct it.", "errors": errors}
    with scripted(in_turn(json_answer(problem, 422))) as (url, seen), pytest.raises(MedjobsError) as caught:
        Client(url, "t").submit("diagnosis", {"data": {}}, params={"explain": "x"})
    assert len(seen) == 1
    assert (caught.value.status, caught.value.code, caught.value.errors) == (422, "invalid-request", errors)
    assert "#/params/explain: use true or false" in str(caught.value)


def test_an_answer_that_is_no_problem_document_is_still_an_error() -> None:
    with scripted(in_turn(Answer(500, b"<html>proxy</html>"))) as (url, _), pytest.raises(MedjobsError) as caught:
        Client(url, "t").job(ID)
    assert (caught.value.status, caught.value.code) == (500, "http-error")


def test_nobody_there_is_said_with_the_address_and_what_to_do() -> None:
    with pytest.raises(MedjobsError) as caught:
        Client("http://127.0.0.1:9", "t", retries=1).job(ID)
    assert "http://127.0.0.1:9" in caught.value.title
    assert "medjobs up" in caught.value.detail


def test_wait_asks_until_the_job_has_ended() -> None:
    with scripted(in_turn(json_answer(job("running")), json_answer(job("succeeded")))) as (url, seen):
        ended = module.Job(Client(url, "t"), job()).wait(timeout=10)
    assert ended.state == "succeeded"
    assert all("wait=" in request.path for request in seen)


def test_wait_gives_up_after_its_timeout_and_says_that_the_job_goes_on() -> None:
    with scripted(in_turn(json_answer(job("running")))) as (url, _), pytest.raises(WaitTimeout, match="goes on"):
        module.Job(Client(url, "t"), job()).wait(timeout=0.3)


def test_a_broken_stream_is_resumed_after_its_last_event() -> None:
    # Given a stream that breaks after its second event
    first = b'id: 1\nevent: state\ndata: {"state":"queued"}\n\nid: 2\nevent: progress\ndata: {"fraction":0.5}\n\n'
    rest = b': a comment\n\nid: 3\nevent: state\ndata: {"state":\ndata: "succeeded"}\n\n'
    stream = {"Content-Type": "text/event-stream"}
    streams = in_turn(Answer(200, first, stream, cut=True), Answer(200, rest, stream))

    def answer(seen: Seen) -> Answer:
        return streams(seen) if seen.path.endswith("/events") else json_answer(job("running"))

    with scripted(answer) as (url, seen):
        # When the events are read
        found = list(module.Job(Client(url, "t"), job()).events())
    # Then each comes once, and the second request asked for what comes after the second
    assert [event.id for event in found] == [1, 2, 3]
    assert found[-1].data == {"state": "succeeded"}
    asked = [request.headers["last-event-id"] for request in seen if request.path.endswith("/events")]
    assert asked == ["0", "2"]


def test_a_stream_whose_server_has_gone_ends_in_an_error_that_says_what_to_do() -> None:
    with pytest.raises(MedjobsError, match="medjobs up") as caught:
        list(module.Job(Client("http://127.0.0.1:9", "t", retries=1), job("running")).events())
    assert caught.value.code == "unreachable"


def test_a_listing_follows_its_cursor_and_stops_at_the_limit() -> None:
    def page(seen: Seen) -> Answer:
        asked = parse_qs(urlsplit(seen.path).query)
        start, size = int(asked.get("cursor", ["0"])[0]), int(asked["limit"][0])
        numbers = range(start, min(start + size, 150))
        after = str(numbers.stop) if numbers.stop < 150 else None
        return json_answer({"jobs": [job(number=n) for n in numbers], "next": after})

    with scripted(page) as (url, seen):
        client = Client(url, "t")
        every = [found.id for found in client.jobs(labels={"study": "A"})]
        assert len(set(every)) == len(every) == 150
        assert all("label.study=A" in request.path for request in seen)
        assert [found.id for found in client.jobs(limit=130)] == every[:130]


def test_address_and_token_come_from_the_home_of_a_running_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEDJOBS_URL", raising=False)
    monkeypatch.delenv("MEDJOBS_TOKEN", raising=False)
    monkeypatch.setenv("MEDJOBS_HOME", str(tmp_path))
    with pytest.raises(MedjobsError, match="medjobs up"):
        Client()
    with scripted(in_turn(json_answer(job()))) as (url, seen):
        (tmp_path / "url").write_text(url + "\n")
        (tmp_path / "token").write_text("secret\n")
        medjobs.Client().job(ID)
    assert seen[0].headers["authorization"] == "Bearer secret"


def test_importing_the_client_brings_httpx_and_nothing_else_of_ours() -> None:
    look = "import sys, medjobs.client; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout.split()
    assert "httpx" in loaded
    unwanted = {"torch", "flask", "sqlalchemy", "celery", "pydantic", "redis", "api", "db", "jobs", "models", "workers"}
    assert unwanted.isdisjoint(loaded)
