"""What every kind promises, whoever wrote it."""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from jobs.errors import InputError
from jobs.kinds import Kind, Params, resolve
from jobs.predicting import Encoded, ModelVersion, Predictor, Source
from jobs.results import DISCLAIMER, Report, Result
from models.catalogue import Catalogue, UnknownModel, catalogue
from models.plain_report import render as plain_report
from registry.shipped import import_shipped
from tests.conformance.data_sets import ready
from tests.conformance.samples import SAMPLES, Sample
from tests.conftest import absent
from tests.services.redis import RedisServer
from tests.services.workers import Stack

ITEMS = 5


def sample(kind: Kind) -> Sample:
    assert kind.name in SAMPLES, f"add a line for {kind.name} to tests/conformance/samples.py"
    return SAMPLES[kind.name]


def version_of(kind: Kind) -> ModelVersion | None:
    if kind.default_model is None:
        return None
    try:
        return catalogue().resolve(kind.default_model)
    except UnknownModel:
        make = sample(kind).version
        if make is None:
            absent(f"the model {kind.default_model} is not in this checkout yet")
            raise
    if kind.name not in _MADE:
        _MADE[kind.name] = make(Path(tempfile.mkdtemp(prefix="conformance-")))
    return _MADE[kind.name]


_MADE: dict[str, ModelVersion] = {}
"""Small versions stand in for default models that this checkout does not hold; each is made once."""


def registered(stack: Stack, version: ModelVersion | None) -> ModelVersion | None:
    """The version, in the stack's database where it is none that the workers bring themselves."""
    if version is not None and version in _MADE.values():
        made = Catalogue({version.name: {version.version: version}}, {version.name: {"production": version.version}})
        import_shipped(stack.db, stack.storage, made)
    return version


def params_of(kind: Kind) -> Params:
    return kind.params.model_validate(sample(kind).params)


_LOADED: dict[str, Predictor] = {}
"""Each predictor is loaded once: checking weights and measuring precision takes seconds."""


@pytest.fixture
def predictor(inference_kind: Kind) -> Predictor:
    if inference_kind.name not in _LOADED:
        _LOADED[inference_kind.name] = resolve(inference_kind.predictor or "")(version_of(inference_kind), "cpu")
    return _LOADED[inference_kind.name]


@pytest.fixture
def sources(inference_kind: Kind, tmp_path: Path) -> list[Source]:
    content = sample(inference_kind).good
    assert content is not None
    found = []
    for number in range(ITEMS):
        path = tmp_path / str(number)
        path.write_bytes(content(number))
        found.append(Source((path,)))
    return found


def run(predictor: Predictor, kind: Kind, sources: list[Source], together: bool = True) -> list[Encoded]:
    """Items through decode, predict and encode, in one batch or one by one."""
    decoded = [predictor.decode(source, params_of(kind)) for source in sources]
    batches = [decoded] if together else [[one] for one in decoded]
    outputs = [output for batch in batches for output in predictor.predict(batch)]
    return [predictor.encode(d, o, position) for position, (d, o) in enumerate(zip(decoded, outputs, strict=True))]


def same(left: Any, right: Any, tolerance: float) -> bool:
    """Whether two results agree, numbers within `tolerance`."""
    if isinstance(left, float) or isinstance(right, float):
        return math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key], tolerance) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(same(a, b, tolerance) for a, b in zip(left, right, strict=True))
    return bool(left == right)


def test_its_schemas_describe_and_refuse(kind: Kind) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9-]*", kind.name)
    assert kind.summary.endswith(".")
    for model in filter(None, (kind.params, kind.item, kind.data)):
        json.dumps(model.model_json_schema())
    needed = {name for name, field in kind.params.model_fields.items() if field.is_required()}
    kind.params.model_validate({name: value for name, value in sample(kind).params.items() if name in needed})
    with pytest.raises(ValidationError):
        kind.params.model_validate({"no such parameter": 1})
    assert kind.params.model_config["allow_inf_nan"] is False
    assert (kind.predictor is None) != (kind.runner is None)
    assert kind.files or kind.data is not None or kind.max_inputs == 0
    assert 0 <= kind.min_inputs <= kind.max_inputs


def test_items_fit_their_schema_and_json(inference_kind: Kind, predictor: Predictor, sources: list[Source]) -> None:
    for encoded in run(predictor, inference_kind, sources):
        inference_kind.item.model_validate(encoded.item)
        json.dumps(encoded.item, allow_nan=False)


def test_the_same_input_gives_the_same_item(inference_kind: Kind, predictor: Predictor, sources: list[Source]) -> None:
    first, second = (run(predictor, inference_kind, sources) for _ in range(2))
    assert [one.item for one in first] == [one.item for one in second]
    assert [f.content for one in first for f in one.artifacts] == [f.content for one in second for f in one.artifacts]


def test_a_batch_says_what_single_items_say(inference_kind: Kind, predictor: Predictor, sources: list[Source]) -> None:
    together = run(predictor, inference_kind, sources)
    alone = run(predictor, inference_kind, sources, together=False)
    for one, other in zip(together, alone, strict=True):
        assert same(one.item, other.item, 1e-3)


def test_each_output_belongs_to_its_input(inference_kind: Kind, predictor: Predictor, sources: list[Source]) -> None:
    """Given the batch the other way round, then the outputs are the other way round too."""
    assert predictor.max_batch >= 1
    decoded = [predictor.decode(source, params_of(inference_kind)) for source in sources]
    there = [predictor.encode(d, o, 0).item for d, o in zip(decoded, predictor.predict(decoded), strict=True)]
    decoded.reverse()
    back = [predictor.encode(d, o, 0).item for d, o in zip(decoded, predictor.predict(decoded), strict=True)]
    assert same(there, back[::-1], 1e-3)
    assert not same(there[0], there[1], 1e-6)


def test_a_bad_input_is_refused_with_a_code(inference_kind: Kind, predictor: Predictor, tmp_path: Path) -> None:
    for number, content in enumerate((sample(inference_kind).bad, b"")):
        path = tmp_path / f"bad-{number}"
        path.write_bytes(content)
        with pytest.raises(InputError) as refused:
            predictor.decode(Source((path,)), params_of(inference_kind))
        assert refused.value.detail
        assert str(path) not in refused.value.detail


def test_files_have_safe_names_of_their_own(inference_kind: Kind, predictor: Predictor, sources: list[Source]) -> None:
    items = sources[:1] if inference_kind.joined else sources
    made = [
        (position, file) for position, one in enumerate(run(predictor, inference_kind, items)) for file in one.artifacts
    ]
    names = [file.name for _, file in made]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) and name != "report.html" for name in names)
    assert all(file.item == position and file.content for position, file in made)


def test_the_predictor_says_where_and_how_it_ran(inference_kind: Kind, predictor: Predictor) -> None:
    facts = predictor.provenance()
    assert {"device", "precision", "threads", "libraries"} <= set(facts)
    json.dumps(facts, allow_nan=False)


@pytest.fixture
def stack(tmp_path: Path, sqlite_url: str, redis_server: RedisServer) -> Iterator[Stack]:
    made = Stack(tmp_path / "stack", sqlite_url, redis_server.url)
    (tmp_path / "stack").mkdir(exist_ok=True)
    yield made
    made.stop()


def report_of(kind: Kind, stack: Stack, job_id: str) -> str:
    view, result = stack.view(job_id), stack.result(job_id)
    version = version_of(kind)
    job = {"id": view.id, "kind": view.kind, "state": view.state.value, "submitted_by": view.submitted_by,
           "priority": view.priority, "labels": view.labels, "model": result["model"], "error": None,
           "created_at": "2026-01-01T00:00:00Z", "started_at": "2026-01-01T00:00:00Z",
           "finished_at": "2026-01-01T00:00:01Z", "attempts": [], "progress": {}, "links": {}}  # fmt: skip
    report = Report(
        job, result, lambda name: stack.storage.read_artifact(job_id, view.fence, name),
        None if version is None else version.manifest,
    )  # fmt: skip
    return str((resolve(kind.report) if kind.report else plain_report)(report))


def test_a_job_through_the_true_worker(inference_kind: Kind, stack: Stack) -> None:
    """Given good files around a bad one, then the result is whole, in order, and can be reported on.

    A joined kind makes one item of all its files, and is given a good one alone.
    """
    given = sample(inference_kind)
    version = registered(stack, version_of(inference_kind))
    assert given.good is not None
    contents = [given.good(0)] if inference_kind.joined else [given.good(0), given.bad, given.good(1)]
    inputs = [stack.put(content) for content in contents]
    model = {} if version is None else {"model_name": version.name, "model_version": version.version}
    stack.worker()
    (job_id,) = stack.submit(stack.new(inputs, inference_kind.name, params=given.params, **model))
    (job,) = stack.wait([job_id], 120)
    assert job.state == "succeeded", job.error
    result = Result.model_validate(stack.result(job_id))
    refused = [content == given.bad for content in contents]
    assert ["error" in item for item in result.items] == refused
    for item, bad in zip(result.items, refused, strict=True):
        if not bad:
            inference_kind.item.model_validate(item)
    assert len(result.warnings) == sum(refused)
    provenance = result.provenance
    assert {"inputs", "params", "seed", "code_version", "attempt", "timings", "weights_sha256"} <= set(provenance)
    for artifact in result.artifacts:
        if artifact.name != "report.html":
            assert stack.storage.read_artifact(job_id, job.fence, artifact.name)
    page = report_of(inference_kind, stack, job_id)
    assert DISCLAIMER in page
    assert not re.search(r"""(src|href)=["']https?:""", page)


def own(result: Result) -> list[dict[str, Any]]:
    """The items without what the registry adds: the second of two equal versions is the first one."""
    return [
        {name: value for name, value in item.items() if name not in ("version", "existing")} for item in result.items
    ]


def test_a_long_job_depends_on_its_seed_alone(long_kind: Kind, stack: Stack) -> None:
    given = sample(long_kind)
    pins = {} if given.cases is None else {"dataset": ready(stack, given.params["dataset"], given.cases())}
    version = registered(stack, version_of(long_kind))
    model: dict[str, Any] = {} if version is None else {"model_name": version.name, "model_version": version.version}
    stack.worker("long")
    jobs = [
        stack.new([], long_kind.name, "long", params=given.params, seed=seed, pins=pins, **model) for seed in (1, 1, 2)
    ]
    ids = stack.submit(*jobs)
    assert {view.state for view in stack.wait(ids, 300)} == {"succeeded"}
    first, again, other = (Result.model_validate(stack.result(job_id)) for job_id in ids)
    assert own(first) == own(again) != own(other)
    for item in first.items:
        long_kind.item.model_validate(item)
    assert DISCLAIMER in report_of(long_kind, stack, ids[0])
