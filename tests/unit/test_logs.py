"""Log lines as JSON: what they say, and what they keep to themselves."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from jobs import logs

NAME = "DOE^JANE"


@pytest.fixture(autouse=True)
def _bound_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another test's long job, run in this process, has bound every line to itself."""
    monkeypatch.setattr(logs, "_process", {})


def line(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The last record as a line of JSON would say it."""
    text = logs.JsonLines().format(caplog.records[-1])
    assert "\n" not in text
    return dict(json.loads(text))


def test_a_line_names_its_job_and_what_else_is_known(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("medjobs.x").warning("job %s waits", "j1", extra={"job_id": "j1", "fence": 3, "code": None})
    said = line(caplog)
    assert said.pop("time").endswith("+00:00")
    assert said == {"level": "warning", "logger": "medjobs.x", "message": "job j1 waits", "job_id": "j1", "fence": 3}


def test_fields_that_are_not_in_the_list_are_not_written(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("other").warning("hello", extra={"patient": NAME})
    assert NAME not in json.dumps(line(caplog))


def test_of_an_exception_the_type_and_the_frames_are_told_and_never_its_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    try:
        raise ValueError(NAME)
    except ValueError:
        logging.getLogger("x").exception("it failed")
    said = line(caplog)
    assert said["exception"] == "ValueError"
    assert "test_logs.py" in said["frames"][-1]
    assert NAME not in json.dumps(said)


def test_what_the_process_is_bound_to_stands_on_every_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_process", {})
    logs.bind(worker="w1")
    logging.getLogger("x").warning("a")
    assert line(caplog)["worker"] == "w1"


ODD = f"""
import logging, threading, warnings
from jobs import logs
logs.set_up(FORM, logging.INFO)
logging.getLogger("medjobs.x").info("first")
logs.attempts.info("attempt begins", extra={{"job_id": "j1"}})
warnings.warn("careful")
thread = threading.Thread(target=lambda: int("{NAME}"))
thread.start(); thread.join()
raise RuntimeError("{NAME}")
"""


def run(form: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-c", ODD.replace("FORM", repr(form))], capture_output=True, text=True)
    return done.returncode, done.stderr


def test_in_json_warnings_and_uncaught_exceptions_are_lines_too() -> None:
    code, text = run("json")
    lines = [json.loads(one) for one in text.splitlines()]
    assert [one["message"].splitlines()[0].split(" ")[0] for one in lines][:2] == ["first", "attempt"]
    assert [one.get("exception") for one in lines] == [None, None, None, "ValueError", "RuntimeError"]
    assert NAME not in text
    assert code == 1


def test_text_stays_what_it_was_and_tells_no_attempts() -> None:
    _, text = run("text")
    assert "INFO medjobs.x first" in text
    assert "attempt begins" not in text
