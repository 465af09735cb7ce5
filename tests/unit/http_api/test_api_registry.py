"""/v1/models: own models, aliases with their gate and history, comparison."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest

from api import create_app
from api.model_schemas import ComparisonBody, ModelDetail, MoveBody, VersionBody
from api.services import EXTENSION
from db import audit, models
from models import comparing
from tests.services.stage import Stage, pointers, problem

CASES = 200
NETWORK = "my_package.networks:build"


def weights(value: float = 0.0) -> bytes:
    """One tensor of one number, as the safetensors format lays it out."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + np.float32(value).tobytes()


def cases(noise: float) -> bytes:
    """Answers to the same 200 cases, half of them ill; with more noise they are worse."""
    random = np.random.default_rng(0)
    y = np.arange(CASES) % 2
    p = np.clip(0.5 + 0.4 * (y - 0.5) + noise * random.normal(size=CASES), 0, 1)
    stream = io.BytesIO()
    columns = {"y": y.astype(np.float32), "p": p.astype(np.float32), "group.Sex": np.arange(CASES) % 4 // 2}
    np.savez(stream, allow_pickle=False, key=np.arange(CASES, dtype=np.uint64), **columns)
    return stream.getvalue()


def own(stage: Stage, name: str = "mine", value: float = 0.0, noise: float | None = None, **change: Any) -> Any:
    """Register weights; with `noise` also its answers to the test cases."""
    files = {"weights.safetensors": stage.upload(weights(value), who="admin")}
    if noise is not None:
        files["cases.npz"] = stage.upload(cases(noise), who="admin")
    card = {"summary": "Of my own.", "data": {"name": "scans", "fingerprint": "cd" * 32}}
    body = {"name": name, "kind": "picture", "files": files, "network": NETWORK, "contract": {"rows": 28}, "card": card}
    return stage.post("/v1/models", json={**body, **change}, who="admin")


def promote(stage: Stage, version: int, name: str = "mine", *, who: str = "admin", **rest: Any) -> Any:
    return stage.put(f"/v1/models/{name}/aliases/production", json={"version": version, **rest}, who=who)


def of(stage: Stage, name: str = "mine") -> dict[str, Any]:
    return dict(stage.get(f"/v1/models/{name}").json)  # type: ignore[arg-type]


def test_given_weights_of_ones_own_then_they_are_the_next_version_and_can_be_fetched(stage: Stage) -> None:
    answer = own(stage, noise=0.2)
    assert answer.status_code == 201
    assert answer.headers["Location"] == "/v1/models/mine/versions/1"
    body = VersionBody.model_validate_json(answer.text)
    assert (body.name, body.version, body.kind, body.job) == ("mine", 1, "picture", None)
    assert [(one.name, one.version) for one in body.lineage] == [("mine", 1)]
    assert [one.path for one in body.files] == ["cases.npz", "weights.safetensors"]
    assert body.manifest["contract"] == {"rows": 28}
    assert body.manifest["network"] == {"name": NETWORK}
    fetched = stage.get(body.files[1].href)
    assert (fetched.status_code, fetched.data) == (200, weights())
    assert stage.get("/v1/models/mine/versions/1").json == answer.json
    problem(stage.get("/v1/models/mine/versions/1/files/manifest.json"), 404, "not-found")
    problem(stage.get("/v1/models/mine/versions/2/files/cases.npz"), 404, "not-found")
    assert own(stage, value=1.0).json["version"] == 2
    assert [act.action for act in audit.listing(stage.here.database, object="mine@1")] == ["register"]


def test_given_the_same_weights_again_then_it_is_the_version_that_there_is(stage: Stage) -> None:
    assert own(stage).status_code == 201
    again = own(stage)
    assert (again.status_code, again.json["version"]) == (200, 1)


def test_given_an_exported_program_then_it_needs_no_network(stage: Stage) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive_format", "pt2")
    file = stage.upload(stream.getvalue(), who="admin")
    made = own(stage, files={"model.pt2": file}, network=None).json
    assert made["manifest"]["weights"]["file"] == "model.pt2"
    assert made["manifest"]["network"] is None


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [
        ({"name": "../x"}, "invalid-request", ["#/name"]),
        ({"kind": "no-such"}, "unknown-kind", ["#/kind"]),
        ({"kind": "files-only"}, "invalid-request", ["#/kind"]),
        ({"name": "strangers"}, "model-of-other-kind", ["#/name"]),
        ({"files": {}}, "invalid-request", ["#/files"]),
        ({"files": {"weights.bin": f"sha256:{'0' * 64}"}}, "invalid-request", ["#/files"]),
        ({"files": {"weights.safetensors": f"sha256:{'0' * 64}"}}, "unknown-file", ["#/files/weights.safetensors"]),
        ({"files": {"weights.safetensors": "sha256:x"}}, "invalid-request", ["#/files/weights.safetensors"]),
        ({"network": None}, "invalid-request", ["#/network"]),
        ({"network": "os.system"}, "invalid-request", ["#/network"]),
        ({"network": "a b:c"}, "invalid-request", ["#/network"]),
        ({"contract": {}}, "invalid-request", ["#/contract/rows"]),
        ({"contract": {"rows": "many"}}, "invalid-request", ["#/contract/rows"]),
    ],
)
def test_given_a_bad_own_model_then_422_points_at_it(stage: Stage, change: Any, code: str, where: list[str]) -> None:
    assert pointers(problem(own(stage, **change), 422, code)) == where
    problem(stage.get("/v1/models/mine"), 404, "not-found")


@pytest.mark.parametrize(
    "content",
    [
        b"short",
        b"\x80\x04\x95 a pickle, say",
        weights()[:-1],
        weights() + b"more",
        weights().replace(b"F32", b"F64"),
        weights().replace(b"[0, 4]", b"[4, 8]"),
        (2**63).to_bytes(8, "little") + b"{}",
        (4).to_bytes(8, "little") + b"[{}]",
    ],
)
def test_given_bytes_that_are_no_safetensors_then_422(stage: Stage, content: bytes) -> None:
    file = stage.upload(content, who="admin")
    body = problem(own(stage, files={"weights.safetensors": file}), 422, "invalid-request")
    assert pointers(body) == ["#/files/weights.safetensors"]


def test_given_no_admin_then_own_models_are_refused_and_shipped_names_are_not_theirs(stage: Stage) -> None:
    problem(stage.post("/v1/models", json={}), 403, "missing-scope")
    problem(promote(stage, 2, "pictures", who="lab"), 403, "not-owner")
    problem(stage.put("/v1/models/pictures/gate", json={"metric": "auc"}), 403, "not-owner")
    problem(promote(stage, 2, "pictures", who="reader"), 403, "missing-scope")
    assert of(stage, "pictures")["aliases"] == {"production": 1, "candidate": 2}


def test_given_a_promotion_then_the_next_submission_has_the_new_version_in_every_process(stage: Stage) -> None:
    other = create_app(stage.settings)
    try:
        post = other.test_client().post
        headers = {"Authorization": f"Bearer {stage.tokens['lab']}"}
        job = {"kind": "picture", "inputs": [{"data": {"Age": 3}}]}
        assert post("/v1/jobs", json=job, headers=headers).json["model"]["version"] == 1  # type: ignore[index]
        pinned = stage.submit()
        answer = promote(stage, 2, "pictures", reason="It is better.")
        assert answer.status_code == 200
        MoveBody.model_validate_json(answer.text)
        assert (answer.json["before"], answer.json["after"]) == (1, 2)
        assert stage.submit()["model"]["version"] == 2
        assert post("/v1/jobs", json=job, headers=headers).json["model"]["version"] == 2  # type: ignore[index]
        assert stage.get(f"/v1/jobs/{pinned['id']}").json["model"]["version"] == 1  # type: ignore[index]
        promote(stage, 1, "pictures", reason="It was not.")
        assert post("/v1/jobs", json=job, headers=headers).json["model"]["version"] == 1  # type: ignore[index]
    finally:
        other.extensions[EXTENSION].close()
    detail = ModelDetail.model_validate_json(stage.get("/v1/models/pictures").text)
    moves = [(one.before, one.after, one.by, one.reason) for one in detail.history if one.alias == "production"]
    assert moves[:2] == [(2, 1, "root", "It was not."), (1, 2, "root", "It is better.")]


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "where"),
    [
        ("pictures/aliases/production", {"version": 9}, 422, "unknown-model", ["#/version"]),
        ("pictures/aliases/production", {"version": 2**70}, 422, "unknown-model", ["#/version"]),
        ("pictures/aliases/production", {"version": "2"}, 422, "invalid-request", ["#/version"]),
        ("pictures/aliases/3", {"version": 2}, 422, "invalid-request", ["#/path/alias"]),
        ("pictures/aliases/a@b", {"version": 2}, 422, "invalid-request", ["#/path/alias"]),
        ("pictures/aliases/production", {"version": 2, "force": True}, 422, "invalid-request", ["#/reason"]),
        ("pictures/gate", {"metric": "luck"}, 422, "invalid-request", ["#/metric"]),
        ("pictures/gate", {"metric": "auc", "margin": -1}, 422, "invalid-request", ["#/margin"]),
    ],
)
def test_given_a_bad_move_or_gate_then_422(
    stage: Stage, path: str, body: Any, status: int, code: str, where: list[str]
) -> None:
    found = problem(stage.put(f"/v1/models/{path}", json=body, who="admin"), status, code)
    assert pointers(found) == where


def test_given_a_model_that_is_not_there_then_404(stage: Stage) -> None:
    problem(promote(stage, 1, "nobody"), 404, "not-found")
    problem(stage.put("/v1/models/nobody/gate", json=None, data=b"null", who="admin"), 404, "not-found")
    problem(stage.get("/v1/models/nobody/compare?a=1&b=2"), 404, "not-found")


def test_given_a_gate_when_a_worse_version_is_promoted_then_it_is_refused_with_the_figures_unless_forced(
    stage: Stage,
) -> None:
    own(stage, value=1.0, noise=0.1)
    own(stage, value=2.0, noise=0.9)
    own(stage, value=3.0, noise=0.05)
    assert promote(stage, 1).status_code == 200
    gate = {"metric": "auc", "margin": 0.01, "subgroups": True, "subgroup_margin": 0.05}
    assert stage.put("/v1/models/mine/gate", json=gate, who="admin").json["gate"] == gate  # type: ignore[index]
    refused = problem(promote(stage, 2), 409, "gate-not-passed")
    assert refused["reasons"][0].startswith("auc")
    assert refused["figures"]["n"] == CASES
    assert of(stage)["aliases"]["production"] == 1
    forced = promote(stage, 2, force=True, reason="The old one is withdrawn.")
    assert forced.status_code == 200
    assert of(stage)["aliases"]["production"] == 2
    [latest, *_] = [move for move in of(stage)["history"] if move["alias"] == "production"]
    assert (latest["before"], latest["after"], latest["reason"]) == (1, 2, "The old one is withdrawn.")
    assert (latest["gate"]["passed"], latest["gate"]["forced"]) == (False, True)
    passed = promote(stage, 3).json
    assert (passed["gate"]["passed"], passed["gate"]["forced"]) == (True, False)
    nothing = stage.put("/v1/models/mine/gate", data=b"null", headers={"Content-Type": "application/json"}, who="admin")
    assert nothing.json["gate"] is None  # type: ignore[index]
    assert promote(stage, 2).json["gate"] is None


def test_given_a_version_that_served_before_when_it_is_rolled_back_to_then_the_gate_is_not_asked(stage: Stage) -> None:
    own(stage, value=1.0, noise=0.9)
    own(stage, value=2.0, noise=0.05)
    stage.put("/v1/models/mine/gate", json={"metric": "auc"}, who="admin")
    assert promote(stage, 1).status_code == 200
    assert promote(stage, 2).json["gate"]["passed"] is True
    back = promote(stage, 1)
    assert (back.status_code, back.json["after"], back.json["gate"]) == (200, 1, None)
    # and what was rolled back is judged anew
    assert promote(stage, 2).json["gate"]["passed"] is True


def test_given_a_promotion_that_comes_between_then_the_version_is_judged_against_what_is_there_now(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value, noise in ((1.0, 0.5), (2.0, 0.3), (3.0, 0.05)):
        own(stage, value=value, noise=noise)
    promote(stage, 1)
    stage.put("/v1/models/mine/gate", json={"metric": "auc"}, who="admin")
    real, judged = comparing.gate, list[bool]()

    def gate(*arguments: Any) -> Any:
        if not judged:
            models.move_alias(stage.here.database, "mine", "production", 3, caller_id=None)
        judged.append((verdict := real(*arguments)).passed)
        return verdict

    monkeypatch.setattr(comparing, "gate", gate)
    problem(promote(stage, 2), 409, "gate-not-passed")
    assert judged == [True, False]
    assert of(stage)["aliases"]["production"] == 3


def test_given_two_first_promotions_then_the_second_is_judged_against_the_first(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value, noise in ((1.0, 0.05), (2.0, 0.9)):
        own(stage, value=value, noise=noise)
    stage.put("/v1/models/mine/gate", json={"metric": "auc"}, who="admin")
    # Given that another first promotion is committed after this one saw nothing in production
    real = models.move_alias

    def late(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(models, "move_alias", real)
        real(stage.here.database, "mine", "production", 1, caller_id=None)
        return real(*arguments, **named)

    monkeypatch.setattr(models, "move_alias", late)
    problem(promote(stage, 2), 409, "gate-not-passed")
    assert of(stage)["aliases"]["production"] == 1


def test_given_a_gate_then_only_production_is_guarded(stage: Stage) -> None:
    own(stage, value=1.0, noise=0.1)
    own(stage, value=2.0, noise=0.9)
    stage.put("/v1/models/mine/gate", json={"metric": "auc"}, who="admin")
    assert promote(stage, 1).status_code == 200  # nothing is in production yet: there is nothing to compare with
    moved = stage.put("/v1/models/mine/aliases/shadow", json={"version": 2}, who="admin")
    assert (moved.status_code, moved.json["before"]) == (200, None)  # type: ignore[index]
    problem(promote(stage, 2), 409, "gate-not-passed")


def trained(stage: Stage, value: float, noise: float, **params: Any) -> str:
    """A training by the lab that has ended with a version of `scans`; its job."""
    body = {"kind": "teaching", "params": {"kind": "picture", "dataset": "scans", **params}}
    job = str(stage.post("/v1/jobs", json=body).json["id"])  # type: ignore[index]
    parent = {"name": "scans", "version": int(params["parent"][-1])} if "parent" in params else None
    manifest = {"summary": "Trained.", "data": {"fingerprint": "ab" * 32}, "parent": parent}
    stage.train(job, "scans", manifest, {"weights.safetensors": weights(value), "cases.npz": cases(noise)})
    return job


def test_given_a_model_that_a_caller_trained_then_it_is_theirs_to_promote_and_nobody_elses(stage: Stage) -> None:
    stage.end(stage.dataset()["job"], item={"format": "pixels", "fingerprint": "ab" * 32})
    first = trained(stage, 1.0, 0.2)
    second = trained(stage, 2.0, 0.1, parent="scans@1")
    body = VersionBody.model_validate_json(stage.get("/v1/models/scans/versions/2").text)
    assert str(body.job) == second
    assert [(one.name, one.version) for one in body.lineage] == [("scans", 2), ("scans", 1)]
    assert body.aliases == ["candidate"]
    assert (of(stage, "scans")["yours"], stage.get("/v1/models/scans", who="rival").json["yours"]) == (True, False)  # type: ignore[index]
    problem(promote(stage, 1, "scans", who="rival"), 403, "not-owner")
    assert promote(stage, 1, "scans", who="lab").status_code == 200
    assert stage.put("/v1/models/scans/gate", json={"metric": "auc"}).status_code == 200
    assert promote(stage, 2, "scans", who="lab").status_code == 200
    trained(stage, 3.0, 0.9)
    problem(promote(stage, 3, "scans", who="lab"), 409, "gate-not-passed")
    problem(promote(stage, 1, "scans", who="lab", force=True, reason="Back."), 403, "missing-scope")
    assert promote(stage, 1, "scans", force=True, reason="Back.").status_code == 200
    problem(stage.call("DELETE", f"/v1/jobs/{first}"), 409, "job-in-use")
    assert stage.submit(model="scans")["model"] == {"name": "scans", "version": 1}


def test_given_two_versions_then_their_differences_are_answered_and_where_they_cannot_be_compared_why(
    stage: Stage,
) -> None:
    own(stage, value=1.0, noise=0.1)
    own(stage, value=2.0, noise=0.9)
    own(stage, value=3.0)
    answer = stage.get("/v1/models/mine/compare?a=1&b=2")
    body = ComparisonBody.model_validate_json(answer.text)
    [auc] = [one for one in body.differences if one.figure == "auc"]
    assert auc.b - auc.a == pytest.approx(auc.difference, abs=1e-5)
    assert auc.low < auc.difference < auc.high < 0
    unlike = problem(stage.get("/v1/models/mine/compare?a=1&b=3"), 409, "not-comparable")
    assert "cases.npz" in unlike["detail"]
    problem(stage.get("/v1/models/pictures/compare?a=1&b=2"), 409, "not-comparable")
    assert pointers(problem(stage.get("/v1/models/mine/compare?a=1&b=7"), 422, "unknown-model")) == ["#/query/b"]
    assert pointers(problem(stage.get("/v1/models/mine/compare?a=1"), 422, "invalid-request")) == ["#/query/b"]
