"""`medjobs data`, `train`, `models` and `verify` against a server that answers as the test tells it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from medjobs import client as client_module
from medjobs import curves, findings, verifying
from medjobs.client import Event
from medjobs.main import main
from models.catalogue import Catalogue
from tests.unit.scripted_server import Answer, Seen, json_answer, scripted

JOB = "01980000-0000-7000-8000-000000000001"
AGAIN = "01980000-0000-7000-8000-000000000002"

Route = Callable[[Seen], Answer]


class Server:
    """Answers by method and path; what came in stands in `seen`."""

    def __init__(self, url: str, seen: list[Seen], routes: dict[str, Any]) -> None:
        self.url, self.seen, self.routes = url, seen, routes

    def run(self, *typed: str) -> Result:
        return CliRunner().invoke(main, list(typed), env={"MEDJOBS_URL": self.url, "MEDJOBS_TOKEN": "t"})

    def bodies(self, method: str, path: str) -> list[Any]:
        found = [one for one in self.seen if (one.method, one.path.partition("?")[0]) == (method, path)]
        return [json.loads(one.body) for one in found]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(client_module, "_pause", lambda attempt, retry_after: 0.01)
    routes: dict[str, Any] = {}

    def answer(seen: Seen) -> Answer:
        told = routes.get(f"{seen.method} {seen.path.partition('?')[0]}")
        if isinstance(told, list):
            told = told.pop(0) if len(told) > 1 else told[0]
        if callable(told):
            told = told(seen)
        if told is None:
            return json_answer({"code": "not-found", "title": "Not found", "detail": "There is no such thing."}, 404)
        return told if isinstance(told, Answer) else json_answer(told)

    with scripted(answer) as (url, seen):
        yield Server(url, seen, routes)


def job(state: str = "succeeded", kind: str = "training", number: str = JOB, **more: Any) -> dict[str, Any]:
    return {
        "id": number, "kind": kind, "state": state, "model": None, "created_at": "2026-01-01T00:00:00Z",
        "started_at": None, "finished_at": None, "attempts": [], "error": None, "labels": {}, "progress": {}, **more,
    }  # fmt: skip


def dataset(state: str = "ready", **more: Any) -> dict[str, Any]:
    return {
        "name": "mine", "state": state, "format": "medmnist", "options": {}, "created_at": "2026-01-01T00:00:00Z",
        "job": JOB, "fingerprint": "ab" * 32, "counts": {"train": 80, "validation": 10, "test": 10},
        "classes": {"train": {"normal": 50, "ill": 30}, "validation": {"normal": 10}, "test": {"normal": 6, "ill": 4}},
        "facts": {}, "warnings": [], "card": "# Data card\n", "problems": [], "links": {}, **more,
    }  # fmt: skip


MANIFEST: dict[str, Any] = {
    "name": "mine", "kind": "diagnosis", "summary": "A network.", "created_at": "2026-01-01",
    "metrics": {"test": {"n": 10, "auc": {"value": 0.91, "low": 0.85, "high": 0.95}}, "mean": {"auc": 0.9}},
    "baseline": {"name": "cnn-basic", "mean": {"auc": 0.88}, "beaten": True},
    "data": {"name": "mine", "fingerprint": "ab" * 32}, "recipe": {"name": "resnet"}, "seed": 3,
}  # fmt: skip


def version(number: int = 3, **more: Any) -> dict[str, Any]:
    return {
        "name": "mine", "version": number, "kind": "diagnosis", "aliases": ["candidate"], "manifest": MANIFEST,
        "job": JOB, "lineage": [{"name": "mine", "version": number}, {"name": "mine", "version": 1}],
        "files": [{"path": name, "size": 1} for name in ("weights.safetensors", "card.md")], **more,
    }  # fmt: skip


def result(items: list[Any], number: str = JOB, **provenance: Any) -> dict[str, Any]:
    origin = {
        "device": "cpu",
        "threads": 1,
        "libraries": {"torch": "2.13.0"},
        "attempt": 1,
        "timings": {},
        **provenance,
    }
    return {"kind": "training", "model": None, "items": items, "artifacts": [], "warnings": [], "provenance": origin}


def model(**more: Any) -> dict[str, Any]:
    versions = [
        {"version": n, "summary": f"version {n}", "aliases": [], "metrics": {"test": MANIFEST["metrics"]["test"]}}
        for n in (3, 2)
    ]
    given = {"name": "mine", "kind": "diagnosis", "aliases": {"production": 2, "candidate": 3}, "versions": versions}
    return {**given, "gate": None, "history": [], **more}


# -- data ------------------------------------------------------------------------------------------------------------


def test_a_data_set_is_uploaded_followed_and_described(server: Server, tmp_path: Path) -> None:
    # Given a server that needs a moment to read the data set, and a guard that warns
    (tmp_path / "set.npz").write_bytes(b"npz")
    warned = dataset(warnings=[{"guard": "duplicates", "detail": "3 images are in two parts.", "count": 3}])
    server.routes |= {
        "POST /v1/files": json_answer({"id": "sha256:aa"}, 201),
        "POST /v1/datasets": json_answer(dataset("validating"), 202),
        f"GET /v1/jobs/{JOB}": [job("running", "dataset"), job("succeeded", "dataset")],
        "GET /v1/datasets/mine": warned,
    }
    # When it is added with an option that is JSON
    shown = server.run("data", "add", "mine", "--format", "medmnist", "--option", 'classes=["normal", "ill"]',
                       str(tmp_path / "set.npz"))  # fmt: skip
    # Then the server was told everything, and the screen tells counts, classes and warning
    assert shown.exit_code == 0, shown.output
    (told,) = server.bodies("POST", "/v1/datasets")
    options = {"classes": ["normal", "ill"]}
    assert told == {"name": "mine", "format": "medmnist", "files": ["sha256:aa"], "options": options}
    assert "80 / 10 / 10" in shown.output
    assert [line.split() for line in shown.output.splitlines() if "ill " in line] == [["ill", "30", "0", "4"]]
    assert "warning [duplicates, 3]: 3 images are in two parts." in shown.output


def test_a_rejected_data_set_names_file_row_and_column_and_exits_1(server: Server, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("id,label\n")
    problems = [{"file": 0, "row": 7, "column": "label", "detail": "The label is empty."}]
    server.routes |= {
        "POST /v1/files": json_answer({"id": "sha256:aa"}, 201),
        "POST /v1/datasets": json_answer(dataset("rejected", counts=None, classes=None, problems=problems), 202),
    }
    shown = server.run("data", "add", "mine", str(tmp_path / "table.csv"), "--format", "images")
    assert shown.exit_code == 1
    assert "problem file 1 row 7 column label: The label is empty." in shown.output
    assert "add them again" in shown.output


def test_a_folder_is_sent_as_a_zip_whose_bytes_depend_on_the_files_alone(server: Server, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "images").mkdir(parents=True)
        (tmp_path / name / "images" / "a.png").write_bytes(b"a picture")
        (tmp_path / name / "labels.csv").write_text("path,label\nimages/a.png,1\n")
        (tmp_path / name / ".DS_Store").write_text("junk")
    server.routes |= {
        "POST /v1/files": json_answer({"id": "sha256:aa"}, 201),
        "POST /v1/datasets": json_answer(dataset(), 202),
    }
    for name in ("one", "two"):
        assert server.run("data", "add", "mine", str(tmp_path / name), "--format", "images").exit_code == 0
    first, second = [one.body for one in server.seen if one.path == "/v1/files"]
    assert first == second
    assert zipfile.ZipFile(BytesIO(first)).namelist() == ["images/a.png", "labels.csv"]


def test_data_sets_are_listed_shown_and_removed(server: Server) -> None:
    server.routes |= {
        "GET /v1/datasets": {"datasets": [dataset()]},
        "GET /v1/datasets/mine": dataset(),
        "DELETE /v1/datasets/mine": Answer(204, b""),
    }
    assert "mine" in server.run("data", "list").output
    assert server.run("data", "show", "mine", "--card").output == "# Data card\n\n"
    assert json.loads(server.run("data", "show", "mine", "--json").output)["name"] == "mine"
    assert "removed" in server.run("data", "remove", "mine").output
    assert server.run("data", "show", "other").exit_code == 1


# -- train -----------------------------------------------------------------------------------------------------------


def events(*told: tuple[str, dict[str, Any]]) -> Answer:
    lines = [f"id: {n}\nevent: {kind}\ndata: {json.dumps(data)}\n\n" for n, (kind, data) in enumerate(told, 1)]
    return Answer(200, "".join(lines).encode(), {"Content-Type": "text/event-stream"})


def trained(server: Server, **more: Any) -> None:
    server.routes |= {
        "POST /v1/jobs": json_answer(job("queued"), 202),
        f"GET /v1/jobs/{JOB}": job(),
        f"GET /v1/jobs/{JOB}/events": events(
            ("state", {"state": "running"}),
            ("progress", {"fraction": 0.5, "stage": "fit", "message": "epoch 3 of 6, loss 0.31"}),
            ("metric", {"name": "seed 0/loss", "value": 0.31, "step": 10}),
            ("state", {"state": "succeeded"}),
        ),
        f"GET /v1/jobs/{JOB}/result": result([{"version": {"name": "mine", "version": 3}, **more}]),
        "GET /v1/models/mine/versions/3": version(),
    }


def test_a_training_is_submitted_with_what_was_chosen_and_nothing_else(server: Server) -> None:
    trained(server)
    shown = server.run("train", "diagnosis", "--data", "mine", "--minutes", "8", "--set", "epochs=3", "--seed", "7")
    assert shown.exit_code == 0, shown.output
    assert f"medjobs watch {JOB}" in shown.output
    (told,) = server.bodies("POST", "/v1/jobs")
    assert told["kind"] == "training"
    assert told["params"] == {"kind": "diagnosis", "dataset": "mine", "minutes": 8.0, "overrides": {"epochs": 3}}
    assert told["seed"] == 7


def test_watch_ends_with_figures_beside_the_baseline_and_the_version(server: Server) -> None:
    trained(server)
    shown = server.run("train", "diagnosis", "--data", "mine", "--watch")
    assert shown.exit_code == 0, shown.output
    assert "50 %  fit: epoch 3 of 6, loss 0.31" in shown.output
    row = next(line for line in shown.output.splitlines() if line.startswith("auc"))
    assert row.split() == ["auc", "0.9100", "0.8500", "to", "0.9500", "0.9000", "0.8800"]
    assert "It beats the simple baseline cnn-basic." in shown.output
    assert "Registered as mine@3 (candidate)." in shown.output


def test_watch_saves_each_picture_that_the_training_shows_and_says_where(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given two pictures of which the second cannot be had any more, then the first lies in a folder of one's own."""
    trained(server)
    monkeypatch.setenv("MEDJOBS_HOME", str(tmp_path))
    names = ("gan-000040.png", "gan-000080.png")
    server.routes[f"GET /v1/jobs/{JOB}/events"] = events(
        *(("artifact", {"name": name, "href": f"/v1/jobs/{JOB}/artifacts/{name}", "step": 40}) for name in names),
        ("state", {"state": "succeeded"}),
    )
    server.routes[f"GET /v1/jobs/{JOB}/artifacts/{names[0]}"] = Answer(200, b"PNG")
    shown = server.run("train", "diagnosis", "--data", "mine", "--watch")
    assert shown.exit_code == 0, shown.output
    saved = tmp_path / "reports" / JOB / names[0]
    assert saved.read_bytes() == b"PNG"
    assert saved.parent.stat().st_mode & 0o777 == 0o700
    assert f"step 40  {saved}" in shown.output.splitlines()
    assert f"step 40  {names[1]}" in shown.output.splitlines()


def test_show_of_a_training_and_of_a_data_set_tell_what_came_of_them(server: Server) -> None:
    trained(server)
    assert "Registered as mine@3 (candidate)." in server.run("show", JOB).output
    item = {"format": "medmnist", "fingerprint": "ab" * 32, "counts": {"train": 80}, "warnings": [], "card": "# long"}
    server.routes |= {f"GET /v1/jobs/{JOB}": job(kind="dataset"), f"GET /v1/jobs/{JOB}/result": result([item])}
    shown = server.run("show", JOB).output
    assert "medmnist: 80 train; 0 warnings; fingerprint abababababababab" in shown
    assert "# long" not in shown


def test_weights_that_were_there_already_are_said_to_be_the_same(server: Server) -> None:
    trained(server, existing=True)
    shown = server.run("train", "diagnosis", "--data", "mine", "--watch")
    assert "The same as mine@3, to the last bit: nothing new was registered." in shown.output


def test_a_failed_training_says_why_and_exits_1(server: Server) -> None:
    trained(server)
    server.routes[f"GET /v1/jobs/{JOB}"] = job("failed", error={"code": "timeout", "detail": "Too slow."})
    shown = server.run("train", "diagnosis", "--data", "mine", "--watch")
    assert shown.exit_code == 1
    assert "timeout: Too slow." in shown.output


def test_ctrl_c_leaves_the_training_running_and_says_so(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(server)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(curves, "_lines", interrupted)
    shown = server.run("train", "diagnosis", "--data", "mine", "--watch")
    assert shown.exit_code == 130
    assert f"The training goes on. Return to it with `medjobs watch {JOB}`" in shown.output
    assert not [one for one in server.seen if one.path.endswith(":cancel")]


def test_the_screen_of_a_training_tells_progress_and_curves() -> None:
    told = curves.Training(JOB)
    told.feed(Event(1, "state", {"state": "running"}))
    told.feed(
        Event(2, "progress", {"fraction": 0.5, "stage": "training", "message": "seed-0, epoch 3 of 6, 12 s left"})
    )
    for step in range(100):
        told.feed(Event(step + 3, "metric", {"name": "seed-0/loss", "value": 1 / (1 + step), "step": step}))
    assert told.line() == " 50 %  training: seed-0, epoch 3 of 6, 12 s left"
    screen = Console(width=100, record=True, file=StringIO())
    screen.print(told)
    assert "loss" in screen.export_text()
    assert curves.sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert curves.sparkline([1, float("nan"), 1]) == "▅·▅"
    assert len(curves.sparkline(list(range(1000)))) == curves.WIDTH


def test_a_long_curve_keeps_its_shape_in_bounded_memory() -> None:
    told = curves.Training(JOB)
    for step in range(20_000):
        told.feed(Event(step, "metric", {"name": "loss", "value": step, "step": step}))
    kept = told.curves["loss"]
    assert len(kept) <= curves.KEPT
    assert kept == sorted(kept)
    assert kept[-1] == 19_999


# -- models ----------------------------------------------------------------------------------------------------------


def test_models_alone_lists_them_and_show_tells_versions_gate_and_figures(server: Server) -> None:
    gate = {"metric": "auc", "margin": 0.01, "subgroups": True, "subgroup_margin": 0.05}
    server.routes |= {"GET /v1/models": {"models": [model()]}, "GET /v1/models/mine": model(gate=gate)}
    assert "production = 2" in server.run("models").output
    assert server.run("models").output == server.run("models", "list").output
    assert json.loads(server.run("models", "--json").output)["models"][0]["name"] == "mine"
    shown = server.run("models", "show", "mine").output
    assert "auc may lose 0.01 at most" in shown
    assert "auc 0.9100 (0.8500 to 0.9500)" in shown


def test_a_version_is_shown_with_lineage_files_and_baseline(server: Server) -> None:
    server.routes |= {"GET /v1/models/mine": model(), "GET /v1/models/mine/versions/3": version()}
    server.routes["GET /v1/models/mine/versions/3/files/card.md"] = Answer(200, b"# Card\x1b[31m\n")
    for typed in ("mine@3", "mine@candidate"):
        shown = server.run("models", "show", typed).output
        assert "Comes from   mine@1" in shown
        assert "weights.safetensors, card.md" in shown
        assert "0.8800" in shown
    assert server.run("models", "show", "mine@3", "--card").output == "# Card?[31m\n\n"
    assert server.run("models", "show", "mine@nothing").exit_code == 1


def test_a_version_that_takes_patients_says_which_measurements_it_knows(server: Server) -> None:
    contract = {"unit": "hours", "variables": [{"name": "HR"}, {"name": "Lactate"}], "statics": [{"name": "Age"}]}
    server.routes["GET /v1/models/mine/versions/3"] = version(manifest={**MANIFEST, "contract": contract})
    shown = server.run("models", "show", "mine@3").output
    assert "Takes variables, time in hours: HR, Lactate" in shown
    assert "Takes statics: Age" in shown


def test_a_comparison_is_printed_with_differences_intervals_and_subgroups(server: Server) -> None:
    one = {
        "figure": "auc",
        "a": 0.9,
        "b": 0.92,
        "difference": 0.02,
        "low": -0.01,
        "high": 0.05,
        "higher_is_better": True,
    }
    groups = [{"name": "Sex=F", "n": 40, "differences": [one]}, {"name": "Sex=M", "n": 4, "differences": []}]
    server.routes["GET /v1/models/mine/compare"] = {"a": 2, "b": 3, "n": 100, "differences": [one], "subgroups": groups}
    shown = server.run("models", "compare", "mine@2", "mine@3")
    assert shown.exit_code == 0, shown.output
    assert "mine@3 against mine@2 on 100 test cases" in shown.output
    assert "-0.0100 to +0.0500" in shown.output
    assert "(too few cases)" in shown.output
    assert any(one.path.endswith("?a=2&b=3") for one in server.seen)
    assert server.run("models", "compare", "mine@2", "other@3").exit_code == 2


def test_promote_moves_the_alias_and_a_gate_that_says_no_is_an_error_with_its_figures(server: Server) -> None:
    reasons = ["auc: the candidate's gain is -0.0200."]
    refused = {"code": "gate-not-passed", "title": "Gate not passed", "detail": "Train on.", "reasons": reasons}
    server.routes |= {
        "GET /v1/models/mine": model(),
        "PUT /v1/models/mine/aliases/production": [json_answer(refused, 409), json_answer({"before": 2, "after": 3})],
    }
    no = server.run("models", "promote", "mine@candidate")
    assert no.exit_code == 1
    assert "auc: the candidate's gain is -0.0200." in no.output
    assert "Train on." in no.output
    yes = server.run("models", "promote", "mine@3", "--force", "--reason", "agreed in the board")
    assert yes.output == "mine@production is now mine@3 (was mine@2).\n"
    told = server.bodies("PUT", "/v1/models/mine/aliases/production")[-1]
    assert told == {"version": 3, "force": True, "reason": "agreed in the board"}
    assert server.run("models", "promote", "mine").exit_code == 2


def test_rollback_goes_back_to_what_the_alias_meant_before_its_last_move(server: Server) -> None:
    moves = [
        {"alias": "candidate", "before": 2, "after": 3, "by": "lab", "at": "2026-01-03T00:00:00Z", "reason": None},
        {"alias": "production", "before": 1, "after": 2, "by": "lab", "at": "2026-01-02T00:00:00Z", "reason": "better"},
    ]
    server.routes |= {
        "GET /v1/models/mine": model(history=moves, aliases={"production": 1}),
        "PUT /v1/models/mine/aliases/production": json_answer({"before": 2, "after": 1}),
    }
    assert server.run("models", "rollback", "mine").output == "mine@production is now mine@1 (was mine@2).\n"
    assert server.bodies("PUT", "/v1/models/mine/aliases/production")[0]["version"] == 1
    assert server.run("models", "rollback", "mine", "--alias", "nightly").exit_code == 1
    shown = server.run("models", "history", "mine", "--alias", "production").output
    assert "better" in shown
    assert "candidate" not in shown


def test_a_gate_is_declared_shown_and_taken_away(server: Server) -> None:
    rule = {"metric": "auc", "margin": 0.01, "subgroups": True, "subgroup_margin": 0.04}
    server.routes |= {"PUT /v1/models/mine/gate": json_answer({}), "GET /v1/models/mine": model(gate=rule)}
    shown = server.run("models", "gate", "mine", "--metric", "auc", "--margin", "0.01", "--subgroup-margin", "0.04")
    assert server.bodies("PUT", "/v1/models/mine/gate") == [rule]
    assert "a subgroup 0.04" in shown.output
    server.routes["GET /v1/models/mine"] = model()
    assert "any version may be promoted" in server.run("models", "gate", "mine", "--none").output
    assert server.bodies("PUT", "/v1/models/mine/gate")[-1] is None
    assert server.run("models", "gate", "mine", "--none", "--metric", "auc").exit_code == 2


def test_own_weights_are_uploaded_with_network_contract_and_card(server: Server, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    (tmp_path / "contract.json").write_text('{"modality": ["CR"]}')
    server.routes |= {
        "POST /v1/files": json_answer({"id": "sha256:aa"}, 201),
        "POST /v1/models": json_answer(version(1), 201),
    }
    typed = ["models", "add", "mine", "--kind", "diagnosis", "--contract", str(tmp_path / "contract.json")]
    shown = server.run(*typed, "--weights", str(tmp_path / "w.safetensors"), "--network", "mypkg.net:build")
    assert shown.exit_code == 0, shown.output
    assert "mine@1" in shown.output
    (told,) = server.bodies("POST", "/v1/models")
    assert told["files"] == {"weights.safetensors": "sha256:aa"}
    assert (told["network"], told["contract"]) == ("mypkg.net:build", {"modality": ["CR"]})
    assert server.run(*typed, "--weights", str(tmp_path / "w.safetensors")).exit_code == 2
    assert server.run(*typed).exit_code == 2


def test_a_version_is_exported_in_the_form_in_which_models_are_shipped(server: Server, tmp_path: Path) -> None:
    server.routes |= {
        "GET /v1/models/mine/versions/3": version(files=[{"path": "weights.safetensors", "size": 1}]),
        "GET /v1/models/mine/versions/3/files/weights.safetensors": Answer(200, b"w"),
    }
    shown = server.run("models", "export", "mine@3", "--to", str(tmp_path), "--as", "1")
    assert shown.output == f"{tmp_path}/mine/1/\n"
    assert (tmp_path / "mine/1/weights.safetensors").read_bytes() == b"w"
    found = Catalogue.read({tmp_path}).resolve("mine@production")
    assert found.version == 1
    assert found.manifest["metrics"] == MANIFEST["metrics"]


# -- verify ----------------------------------------------------------------------------------------------------------


def rerun(server: Server, first: dict[str, Any], second: dict[str, Any]) -> Result:
    server.routes |= {
        f"GET /v1/jobs/{JOB}": job(), f"GET /v1/jobs/{JOB}/result": first,
        f"POST /v1/jobs/{JOB}:rerun": json_answer(job("queued", number=AGAIN), 202),
        f"GET /v1/jobs/{AGAIN}": job(number=AGAIN), f"GET /v1/jobs/{AGAIN}/result": second,
    }  # fmt: skip
    return server.run("verify", JOB)


def test_verify_says_identical_though_attempt_worker_and_time_differ(server: Server) -> None:
    items = [{"version": {"name": "mine", "version": 3}, "metrics": {"auc": 0.91}}]
    again = [{**items[0], "existing": True}]
    second = result(again, attempt=2, worker="other", finished_at=5.0, timings={"run": 9.0})
    shown = rerun(server, result(items, worker="one"), second)
    assert shown.exit_code == 0, shown.output
    assert "identical" in shown.output


def test_verify_names_what_differs_and_calls_it_a_defect_on_the_same_machine(server: Server) -> None:
    first = result([{"p": [0.25, 0.5]}], inputs=["sha256:aa"])
    shown = rerun(server, first, result([{"p": [0.25, 0.53125]}], inputs=["sha256:bb"]))
    assert shown.exit_code == 1
    assert "items[0].p[1]" in shown.output
    assert "provenance.inputs[0]" in shown.output
    assert "largest difference of two numbers is 0.0312" in shown.output
    assert "defect" in shown.output


def test_verify_says_when_another_library_or_device_may_be_the_reason(server: Server) -> None:
    shown = rerun(server, result([{"p": 0.5}]), result([{"p": 0.5000001}], libraries={"torch": "2.14.0"}))
    assert shown.exit_code == 1
    assert "provenance.libraries.torch" in shown.output
    assert "not the same" in shown.output
    assert "defect" not in shown.output


def test_verify_calls_no_defect_what_a_training_that_went_on_elsewhere_leaves() -> None:
    moved = result([{"p": 0.5}], resumed_elsewhere=[{"instruction_set": ["AVX2", "AVX512"]}])
    assert not verifying.same_circumstances(verifying.differences(moved, result([{"p": 0.5000001}])))


def test_a_number_is_no_truth_value_and_a_missing_member_is_a_difference() -> None:
    found = verifying.differences(result([{"a": 1}]), result([{"a": True}]))
    assert [one.place for one in found] == ["items[0].a"]
    found = verifying.differences(result([{"a": 1}]), result([{}]))
    assert [(one.place, one.second) for one in found] == [("items[0].a", None)]


# -- submit and show -------------------------------------------------------------------------------------------------


def test_a_patient_is_submitted_as_inline_data(server: Server) -> None:
    server.routes["POST /v1/jobs"] = json_answer(job("queued", "prediction"), 202)
    patient = {"static": {"Age": 54}, "observations": [{"time": 2.5, "name": "HR", "value": 88}]}
    shown = server.run("submit", "--kind", "prediction", "--data", json.dumps(patient), "--param", "explain=false")
    assert shown.exit_code == 0, shown.output
    (told,) = server.bodies("POST", "/v1/jobs")
    assert told["inputs"] == [{"data": patient}]
    assert told["params"] == {"explain": False}
    bad = server.run("submit", "--kind", "prediction", "--data", '{"static": {"Age": 54 "Sex": 1}}')
    assert bad.exit_code == 2
    assert "54" not in bad.output


def test_risks_are_drawn_with_their_horizons_and_what_moved_them() -> None:
    weights = [{"feature": "Lactate", "time": t, "weight": 0.3} for t in (0, 1)] + [
        {"feature": "Age", "time": None, "weight": -0.5}
    ]
    risks = [{"outcome": "death", "horizon": h, "probability": p, "interval": [p, p]} for h, p in ((1, 0.1), (3, 0.25))]
    items = [
        {"risks": risks, "attributions": weights, "uncertainty": {"abstain": True, "reason": "unlike"}},
        {"error": {"code": "bad-input", "detail": "Observation 3 has no time."}},
    ]
    console = Console(width=100, record=True, file=StringIO())
    console.print(findings.drawn(client_module.Result(items, [], [], {}, {}), ["a.json", "b.json"]))
    lines = console.export_text().splitlines()
    first = next(line for line in lines if line.startswith("a.json"))
    assert "0.100" in first
    assert "abstains" in first
    assert "Lactate +0.60, Age -0.50" in first
    assert any("bad-input" in line for line in lines)
