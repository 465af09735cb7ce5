"""What an operator sees: a real Prometheus scrapes a real API, workers and keeper, and every panel of the dashboard and
every alert asks for what is there. The same parts log JSON."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from db import schema
from db.callers import create_token
from medjobs.stack.ports import free_port
from tests.conftest import absent
from tests.services.api_server import ApiServer
from tests.services.prometheus import NoPrometheus, Prometheus, tool
from tests.services.redis import NoRedis, RedisServer
from tests.services.workers import Stack

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "medjobs.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
NEED_A_GPU = {"GPU memory", "GPU utilisation"}
PATIENT = "DOE^JANE"
NAMES = re.compile(r"\bmedjobs_[a-z_]+")


class Seen(NamedTuple):
    """What one run left."""

    prometheus: Prometheus
    ids: list[str]
    logs: dict[str, list[str]]
    """By program, the lines of its log."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("monitoring")
    try:
        tool("prometheus")
        redis = RedisServer()
    except (NoPrometheus, NoRedis) as missing:
        absent(str(missing))
        raise
    url = f"sqlite:///{folder / 'medjobs.db'}"
    schema.upgrade(url)
    stack = Stack(folder, url, redis.url, log_format="json")
    ports = [free_port() for _ in range(3)]
    api = prometheus = None
    try:
        api = ApiServer(stack.settings.home, database_url=url, redis_url=redis.url, log_format="json")
        for number, pool in enumerate(("inference", "long")):
            at = f"127.0.0.1:{ports[number]}"
            stack._start(["workers", "--pool", pool, "--devices", "cpu", "--metrics", at])
        stack._start(["workers.keeper", "--metrics", f"127.0.0.1:{ports[2]}"])
        names = ("medjobs-workers", "medjobs-long", "medjobs-keeper")
        targets = {name: f"127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)}
        targets["medjobs-api"] = api.url.removeprefix("http://")
        prometheus = Prometheus(folder / "prometheus", targets, ALERTS)
        prometheus.until('up{job=~"medjobs.*"} == 1', 4)
        ids = run(stack, api)
        prometheus.until('medjobs_jobs_ended_total{kind="toy-mean",state="succeeded"} > 3', 1)
        ids += run(stack, api)  # a rate needs two readings that differ
        prometheus.until('medjobs_jobs_ended_total{kind="toy-mean",state="succeeded"} > 7', 1)
        prometheus.until("medjobs_batch_items_count > 1", 1)
        ids += leave(stack, api)
        prometheus.until("medjobs_jobs_running > 0 and on () medjobs_jobs_queued > 0", 1)
        logs = {process.log.stem: process.text().splitlines() for process in stack.processes}
        logs["api"] = api.log.read_text().splitlines()
        logs["access"] = api.access_log.read_text().splitlines()
        yield Seen(prometheus, ids, logs)
    finally:
        if prometheus is not None:
            prometheus.stop()
        if api is not None:
            api.stop()
        stack.stop()
        redis.stop()


def run(stack: Stack, api: ApiServer) -> list[str]:
    """Jobs of both pools, four of which succeed, through the API; one fails over what it was given."""
    token = create_token(stack.db, "lab", ["read", "submit"], None)
    with api.client(token) as client:
        bodies: list[dict[str, Any]] = [
            {"kind": "toy-mean", "inputs": [{"data": {"values": [n]}}], "labels": {"name": PATIENT}} for n in range(4)
        ]
        bodies += [{"kind": "toy-steps", "inputs": [], "params": {"steps": 3, "step_s": 0.01}}]
        bodies += [{"kind": "toy-mean", "inputs": [client.post("/v1/files", content=b"").json()["id"]]}]
        ids = [client.post("/v1/jobs", json=body).json()["id"] for body in bodies]
        stack.wait(ids, 120)
        assert client.get(f"/v1/jobs?label.name={PATIENT}").status_code in (200, 400)
        client.get(f"/v1/jobs/{ids[0]}")
    return ids


def leave(stack: Stack, api: ApiServer) -> list[str]:
    """One job that runs for long, and one for later; the first, of which the logs tell."""
    with api.client(create_token(stack.db, "lab", ["submit"], None)) as client:
        running = {"kind": "toy-steps", "inputs": [], "params": {"steps": 10_000, "step_s": 0.1}}
        later = {"kind": "toy-mean", "inputs": [{"data": {"values": [1]}}], "run_after": "2999-01-01T00:00:00Z"}
        ids = [client.post("/v1/jobs", json=body).json()["id"] for body in (running, later)]
    return ids[:1]


def filled(expression: str) -> str:
    return expression.replace("$__rate_interval", "30s")


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_has_a_description_and_its_queries_answer(panel: dict[str, Any], seen: Seen) -> None:
    assert len(panel["description"]) > 20
    for target in panel["targets"]:
        found = seen.prometheus.query(filled(target["expr"]))
        assert found or panel["title"] in NEED_A_GPU, target["expr"]


def test_every_metric_that_panels_and_alerts_name_is_there(seen: Seen) -> None:
    text = ALERTS.read_text() + "\n".join(target["expr"] for panel in PANELS for target in panel["targets"])
    there = set(seen.prometheus.ask("/label/__name__/values"))
    named = {name for name in NAMES.findall(text) if not name.endswith("_")}
    assert len(named) > 25
    assert named - there == set()


def test_the_table_of_metrics_in_the_documents_is_what_is_there(seen: Seen) -> None:
    text = (DEPLOY.parent / "docs" / "operations.md").read_text()
    told = set(re.findall(r"^\| `(medjobs_[a-z_]+)` \|", text, re.MULTILINE))
    families = {name.removesuffix("_total") for name in seen.prometheus.ask("/metadata") if name.startswith("medjobs_")}
    assert {name for name in families if not name.endswith("_created")} == told


def test_every_alert_can_be_evaluated_and_none_fires_while_all_is_well(seen: Seen) -> None:
    (group,) = seen.prometheus.ask("/rules")["groups"]
    assert {rule["name"]: rule["health"] for rule in group["rules"] if rule["health"] != "ok"} == {}
    assert len(group["rules"]) >= 15
    assert [rule["name"] for rule in group["rules"] if rule["state"] == "firing"] == []


def test_every_line_of_every_log_is_an_object_with_time_level_and_logger(seen: Seen) -> None:
    for program, lines in seen.logs.items():
        assert lines, program
        for line in lines:
            said = json.loads(line)
            assert {"time", "level", "logger", "message"} <= set(said), (program, line)


def test_the_lines_of_a_job_carry_its_id_in_workers_and_in_the_access_log(seen: Seen) -> None:
    told: dict[str, set[tuple[str, str | None]]] = {}
    for program, lines in seen.logs.items():
        for said in map(json.loads, lines):
            if "job_id" in said:
                told.setdefault(said["job_id"], set()).add((program.split("-")[0], said.get("outcome")))
    by_worker = {job_id for job_id, where in told.items() if any(program != "access" for program, _ in where)}
    assert by_worker == set(seen.ids)
    assert any(program == "access" for program, _ in told[seen.ids[0]])
    outcomes = {outcome for where in told.values() for _, outcome in where}
    assert {"succeeded", "failed"} <= outcomes


def test_no_log_and_no_metric_holds_a_patients_name(seen: Seen) -> None:
    for program, lines in seen.logs.items():
        assert PATIENT not in "\n".join(lines), program
    labels = seen.prometheus.ask("/series", **{"match[]": '{__name__=~"medjobs_.*"}'})
    assert len(labels) > 100
    assert PATIENT not in json.dumps(labels)


@pytest.mark.parametrize("command", [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]])
def test_promtool_accepts_the_alerts_and_their_tests(command: list[str]) -> None:
    try:
        promtool = tool("promtool")
    except NoPrometheus as missing:
        absent(str(missing))
        raise
    done = subprocess.run([promtool, *command], cwd=ALERTS.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_unit_test() -> None:
    names = re.findall(r"- alert: (\w+)", ALERTS.read_text())
    tested = re.findall(r"^  - name: (\w+)$", (ALERTS.parent / "alerts_test.yml").read_text(), re.MULTILINE)
    assert set(names) == set(tested)
