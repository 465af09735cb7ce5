"""/v1/datasets: uploaded files that a job reads, checks and turns into training data."""

from __future__ import annotations

import hashlib
import json
from http import HTTPStatus

from flask import Response, jsonify

from api import auth
from api.accepting import Accepted, checked_params, known_kind
from api.dataset_presenting import dataset_json
from api.dataset_schemas import DatasetBody, DatasetList, DatasetPath
from api.inputs import Inputs
from api.inserting import announce, refused
from api.problems import Problem
from api.requests import NewDataset
from api.routing import Routes
from api.services import services
from db import datasets as rows
from db.datasets import DataSetView
from db.records import NewJob
from db.refusals import DataSetExists, DataSetInUse, Refusal
from jobs.datasets import KIND
from jobs.ids import new_id
from jobs.needs import queue_for

routes = Routes("datasets", __name__, url_prefix="/v1")


@routes.post("/datasets", responses={202: DatasetBody, 200: DatasetBody})
@auth.needs("submit")
def add(body: NewDataset) -> tuple[Response, int]:
    """Add a data set: a job reads and checks the files; GET it until its state is `ready` or `rejected`.

    The same content again is the data set that is there; a rejected one is replaced.
    """
    here = services()
    accepted = _accept(body)
    content = hashlib.sha256(json.dumps([accepted.job.params, body.files], sort_keys=True).encode()).hexdigest()
    try:
        made = rows.create(here.database, accepted.job, body.name, content, max_queued=here.settings.max_queued)
    except DataSetExists:
        raise Problem("dataset-exists") from None
    except Refusal as refusal:
        raise refused(refusal, [accepted]) from None
    if made.new:
        announce([accepted.job])
    answer = jsonify(dataset_json(made.data_set))
    answer.headers["Location"] = f"/v1/datasets/{body.name}"
    return answer, HTTPStatus.ACCEPTED if made.new else HTTPStatus.OK


@routes.get("/datasets", responses={200: DatasetList})
@auth.needs("read")
def listing() -> Response:
    """The caller's data sets, by name."""
    found = rows.listing(services().database, auth.current().id)
    return jsonify(datasets=[dataset_json(one) for one in found])


@routes.get("/datasets/<name>", responses={200: DatasetBody})
@auth.needs("read")
def read(path: DatasetPath) -> Response:
    """A data set: its state, and what was read or what is wrong with it."""
    return jsonify(dataset_json(_known(path.name)))


@routes.delete("/datasets/<name>", responses={204: None})
@auth.needs("submit")
def forget(path: DatasetPath) -> tuple[str, int]:
    """Delete a data set, unless a job that has not ended needs it. Versions that were trained on it stay."""
    try:
        gone = rows.forget(services().database, auth.current().id, path.name)
    except DataSetInUse:
        raise Problem("dataset-in-use") from None
    if not gone:
        raise Problem("not-found")
    return "", HTTPStatus.NO_CONTENT


def _known(name: str) -> DataSetView:
    found = rows.get(services().database, auth.current().id, name)
    if found is None:
        raise Problem("not-found")
    return found


def _accept(body: NewDataset) -> Accepted:
    """The job that reads the files; raises a problem that points into the body of the data set."""
    kind = known_kind(KIND)
    _, params = checked_params(kind, {"format": body.format, "options": body.options}, ())
    inputs = Inputs(kind, ("files",))
    inputs.check(body.files)
    if inputs.errors:
        raise Problem("invalid-inputs", errors=inputs.errors)
    job = NewJob(
        id=new_id(),
        caller_id=auth.current().id,
        kind=kind.name,
        pool=kind.pool,
        queue=queue_for(kind.device, kind.memory_bytes),
        inputs=list(body.files),
        digests=list(inputs.digests),
        params=params,
        timeout_s=kind.timeout_s,
    )
    return Accepted(job, inputs.digests)
