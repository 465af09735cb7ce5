"""Settings that contradict one another are refused at the start, with a sentence that says which and why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from jobs.settings import Settings, complaints

ROOT = Path(__file__).parents[2]


def refusal(**given: str) -> str:
    with pytest.raises(ValidationError) as refused:
        Settings.from_environment({f"MEDJOBS_{name}": value for name, value in given.items()})
    return "\n".join(complaints(refused.value))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"RENEW_INFERENCE_S": "15"}, "MEDJOBS_RENEW_INFERENCE_S (15) must be below half of MEDJOBS_LEASE_INFERENCE_S"),
        ({"LEASE_LONG_S": "20"}, "MEDJOBS_RENEW_LONG_S (15) must be below half of MEDJOBS_LEASE_LONG_S (20)"),
        ({"HEARTBEAT_S": "10"}, "MEDJOBS_HEARTBEAT_S (10) must be below half of MEDJOBS_WORKER_DEAD_S (20)"),
        ({"DRAIN_S": "4"}, "MEDJOBS_CONTROL_S (2) must be below half of MEDJOBS_DRAIN_S (4)"),
        ({"DATABASE_WAIT_S": "40"}, "MEDJOBS_DATABASE_WAIT_S (40) must be below MEDJOBS_LEASE_INFERENCE_S (30)"),
        (
            {"DATABASE_WAIT_S": "130", "LEASE_INFERENCE_S": "900", "SILENT_S": "900"},
            "MEDJOBS_DATABASE_WAIT_S (130) must be below MEDJOBS_LEASE_LONG_S (120)",
        ),
        ({"SILENT_S": "40"}, "MEDJOBS_DATABASE_WAIT_S (20) must be below half of MEDJOBS_SILENT_S (40)"),
        ({"WEBHOOK_TIMEOUT_S": "30"}, "MEDJOBS_WEBHOOK_TIMEOUT_S (30) must be below half of MEDJOBS_WEBHOOK_RESERVE_S"),
    ],
)
def test_times_that_contradict_one_another_are_refused_with_both_names(given: dict[str, str], said: str) -> None:
    assert refusal(**given).startswith(said)
    assert ": " in refusal(**given).removeprefix(said)  # and why


def test_every_contradiction_is_named_at_once() -> None:
    said = refusal(RENEW_INFERENCE_S="15", HEARTBEAT_S="10")
    assert "MEDJOBS_RENEW_INFERENCE_S" in said
    assert "MEDJOBS_HEARTBEAT_S" in said


@pytest.mark.parametrize("value", ["0", "-1", "inf", "nan", "soon"])
def test_a_time_is_a_positive_number(value: str) -> None:
    assert "MEDJOBS_LEASE_INFERENCE_S: " in refusal(LEASE_INFERENCE_S=value)


MAY_BE_0 = {
    "max_wait_s", "timeout_grace_s", "publish_pause_s", "keep_inputs_days", "retention_days", "blob_grace_s",
    "training_memory", "device_memory", "cpu_fallback", "warm_models", "batch_delay_ms",
}  # fmt: skip
"""Settings that guard nothing when they are small: the promise holds without the wait."""

UNBOUNDED = {
    "max_upload_bytes", "max_body_bytes", "max_batch", "max_queued", "api_threads", "inference_threads",
    "torch_threads", "training_memory", "device_memory",
}  # fmt: skip
"""Whole numbers that say how much an installation can hold."""

NUMBERS = {
    name: field.default
    for name, field in Settings.model_fields.items()
    if isinstance(field.default, int | float) or name == "retention_days"
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "-1", "0", "1e12"])
def test_no_variable_can_switch_a_guard_off(name: str, value: str) -> None:
    """Given no number, or one far beyond any use, then the start is refused with the name of the variable."""
    if (value == "0" and name in MAY_BE_0) or (value == "1e12" and name in UNBOUNDED):
        assert getattr(Settings(**{name: int(float(value))}), name) == float(value)
        return
    said = refusal(**{name.upper(): value})
    assert said.startswith(f"MEDJOBS_{name.upper()}: "), said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"RESEND_S": "3601"}, "MEDJOBS_RESEND_S: Input should be less than or equal to 3600"),
        ({"KEEPER_INTERVAL_S": "3601"}, "MEDJOBS_KEEPER_INTERVAL_S: Input should be less than or equal to 3600"),
        ({"LEASE_LONG_S": "86401"}, "MEDJOBS_LEASE_LONG_S: Input should be less than or equal to 86400"),
        ({"MAX_CRASHES": "101"}, "MEDJOBS_MAX_CRASHES: Input should be less than or equal to 100"),
        ({"MAX_ATTEMPTS": "0"}, "MEDJOBS_MAX_ATTEMPTS: Input should be greater than or equal to 1"),
    ],
)
def test_a_number_beyond_its_limit_is_refused_with_the_limit(given: dict[str, str], said: str) -> None:
    assert refusal(**given) == said


def test_a_short_lease_shortens_the_wait_for_the_database_unless_that_is_set() -> None:
    short = {"MEDJOBS_LEASE_INFERENCE_S": "3", "MEDJOBS_RENEW_INFERENCE_S": "1"}
    assert Settings().database_wait_s == 20
    assert Settings.from_environment(short).database_wait_s == 2
    assert Settings.from_environment({**short, "MEDJOBS_DATABASE_WAIT_S": "1"}).database_wait_s == 1


@pytest.mark.parametrize("service", [["api"], ["workers", "--devices", "cpu"], ["workers.keeper"]])
def test_a_service_with_contradicting_settings_ends_at_once_and_says_which(tmp_path: Path, service: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MEDJOBS_HOME": str(tmp_path), "MEDJOBS_HEARTBEAT_S": "60"}
    ended = subprocess.run(
        [sys.executable, "-P", "-m", *service],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode in (1, 2)
    assert "MEDJOBS_HEARTBEAT_S (60) must be below half of MEDJOBS_WORKER_DEAD_S (20)" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_setting_may_stand_in_a_file_and_the_variable_itself_goes_first(tmp_path: Path) -> None:
    secret = tmp_path / "redis_url"
    secret.write_text("redis://:secret@redis:6379/0\n")
    given = {"MEDJOBS_REDIS_URL_FILE": str(secret), "MEDJOBS_DRAIN_S_FILE": ""}
    assert Settings.from_environment(given).redis_url == "redis://:secret@redis:6379/0"
    assert Settings.from_environment({**given, "MEDJOBS_REDIS_URL": "redis://other"}).redis_url == "redis://other"


def test_a_file_of_a_setting_that_cannot_be_read_is_refused_without_its_path(tmp_path: Path) -> None:
    said = refusal(REDIS_URL_FILE=str(tmp_path / "secret-place"))
    assert said == "MEDJOBS_REDIS_URL: its file cannot be read: No such file or directory"
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xff")
    assert refusal(REDIS_URL_FILE=str(tmp_path / "binary")).endswith("it is not text")


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("unix:///run/r.sock", "redis+socket:///run/r.sock?virtual_host=0"),
        ("unix:///run/r.sock?db=3", "redis+socket:///run/r.sock?virtual_host=3"),
        ("redis+socket:///run/r.sock?virtual_host=3", "redis+socket:///run/r.sock?virtual_host=3"),
        ("rediss://:secret@host:6379/1", "rediss://:secret@host:6379/1"),
    ],
)
def test_a_redis_is_named_as_redis_py_or_kombu_names_it(given: str, taken: str) -> None:
    assert Settings.from_environment({"MEDJOBS_REDIS_URL": given}).redis_url == taken


@pytest.mark.parametrize(
    "given",
    [
        "localhost:6379", "amqp://:secret@host", "redis://:secret@host/jobs", "/run/r.sock", "unix://:secret@/run/r.sock",
        "unix:///run/r.sock?password=secret", "redis://:secret\u2100@host/0", "redis://:secret[@host/0",
    ],
)  # fmt: skip
def test_a_url_that_no_worker_could_use_is_refused_without_its_password(given: str) -> None:
    said = refusal(REDIS_URL=given)
    assert said.startswith("MEDJOBS_REDIS_URL: ")
    assert "use redis://HOST:PORT/0" in said
    assert "secret" not in said
