"""The commands and the Python client against a whole stack, with the toy kinds."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import medjobs
from medjobs.main import main
from medjobs.stack.embedded import Stack
from medjobs.stack.running import running

ROOT = Path(__file__).parents[2]
TOYS = ROOT / "tests" / "toy_kind"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(TOYS), str(ROOT)]))
        home = tmp_path_factory.mktemp("stack")
        with running(home, ("cpu",), {"MEDJOBS_CONTROL_S": "0.3"}, print) as started:
            started.home.url.write_text(started.url)
            yield started


@pytest.fixture(autouse=True)
def _here(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDJOBS_URL", raising=False)
    monkeypatch.delenv("MEDJOBS_TOKEN", raising=False)
    monkeypatch.setenv("MEDJOBS_HOME", str(stack.home.path))
    monkeypatch.chdir(tmp_path)
    for name, content in {"good": bytes([1, 3]), "also": bytes([5]), "bad": b"BAD", "worse": b"BAD"}.items():
        (tmp_path / name).write_bytes(content)


def run(*typed: str) -> Result:
    return CliRunner().invoke(main, list(typed))


def submit(*typed: str) -> Result:
    return run("submit", "--kind", "toy-mean", *typed)


def test_one_bad_file_is_named_and_the_others_have_their_result() -> None:
    done = submit("good", "bad", "also", "--wait", "--param", "artifact=true", "--save", "out")
    assert done.exit_code == 0
    assert "bad: bad-attribute: This file says that it is bad." in done.stderr
    assert "1 of 3 inputs failed" in done.stderr
    assert '"mean": 2.0' in done.stdout
    assert sorted(path.name for path in Path("out").iterdir()) == ["mean-0.txt", "mean-2.txt", "report.html"]
    assert str(Path("out/report.html")) in done.stdout


def test_where_nothing_succeeded_the_exit_code_is_1_with_the_reason_and_what_to_do() -> None:
    done = submit("bad", "worse", "--wait")
    assert done.exit_code == 1
    assert "all-items-failed" in done.stderr
    assert "medjobs show" in done.stderr


def test_without_wait_the_job_is_named_and_how_to_follow_it() -> None:
    done = submit("good", "--label", "study=A", "--priority", "9", "--json")
    job = json.loads(done.stdout)
    assert (done.exit_code, job["labels"], job["priority"]) == (0, {"study": "A"}, 9)
    assert run("watch", job["id"]).exit_code == 0
    assert ":inference:" in run("show", job["id"]).output
    plain = submit("good").stdout
    (newest,) = json.loads(run("jobs", "--json", "--limit", "1").stdout)
    assert f"medjobs watch {newest['id']}" in plain


def test_a_folder_stands_for_its_files(tmp_path: Path) -> None:
    (tmp_path / "study" / "series").mkdir(parents=True)
    (tmp_path / "study" / ".hidden").write_bytes(b"BAD")
    (tmp_path / "study" / "series" / "b").write_bytes(bytes([2]))
    (tmp_path / "study" / "a").write_bytes(bytes([1]))
    done = submit("study", "--wait", "--json")
    assert [item["mean"] for item in json.loads(done.stdout)["items"]] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--param", "nonsense=1"), "#/params"),
        (("--model", "no-such-model"), "unknown-model"),
        (("--param", "noequals"), "name=value"),
        (("--kind", "no-such-kind"), "unknown-kind"),
    ],
)
def test_a_wrong_option_is_refused_with_field_and_remedy(typed: tuple[str, ...], said: str) -> None:
    done = submit("good", *typed)
    assert done.exit_code in (1, 2)
    assert said in done.stderr
    assert "do:" in done.stderr


def test_the_readme_line_of_the_python_client_works() -> None:
    with medjobs.Client() as client:
        result = client.submit("toy-mean", "good", params={"artifact": True}).wait().result()
        assert result.items == [{"mean": 2.0, "size": 2}]
        job = next(client.jobs(limit=1))
        assert job.artifact("mean-0.txt") == b"2.0\n"
        assert b"<html" in job.artifact("report.html")[:1000].lower()
        assert {"state", "progress"} >= {event.type for event in job.events()} >= {"state"}
        again = job.rerun().wait()
        assert again.id != job.id
        assert again.result().items == result.items


def test_many_jobs_come_back_in_the_order_in_which_they_were_given(tmp_path: Path) -> None:
    inputs = [{"data": {"values": [number]}} for number in range(50)]
    with medjobs.Client() as client:
        made = client.submit_many("toy-mean", inputs, labels={"batch": "many"})
        means = [job.wait(30).result().items[0]["mean"] for job in made]
        assert means == [float(number) for number in range(50)]
        assert len(list(client.jobs(labels={"batch": "many"}))) == 50


def test_a_long_job_streams_its_progress_and_can_be_cancelled_while_it_runs() -> None:
    with medjobs.Client() as client:
        job = client.submit("toy-steps", params={"steps": 2000, "step_s": 0.02})
        types = []
        stream = job.events()
        for event in stream:
            types.append(event.type)
            if "progress" in types:
                break
        stop = threading.Timer(0.1, lambda: run("cancel", job.id))
        stop.start()
        started = time.monotonic()
        assert job.wait(20).state == "cancelled"
        assert time.monotonic() - started < 10
        stop.join()
        with pytest.raises(medjobs.MedjobsError) as refused:
            job.result()
        assert refused.value.code == "job-cancelled"


def test_doctor_finds_a_healthy_stack() -> None:
    checked = json.loads(run("doctor", "--json").stdout)
    assert {check["name"]: check["state"] for check in checked if check["state"] != "ok"} == {}


def test_workers_lists_both_pools() -> None:
    shown = json.loads(run("workers", "--json").stdout)["workers"]
    assert sorted(worker["pool"] for worker in shown) == ["inference", "long"]
