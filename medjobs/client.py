"""The typed Python client: `medjobs.Client().submit("diagnosis", "chest.dcm").wait().result()`.

Imports httpx and the standard library alone, and with it datasets.py and versions.py beside it, so that the three can
be copied into any program. Every submit carries an Idempotency-Key made here, so that a retry after a broken connection
never makes a second job.
"""

from __future__ import annotations

import json
import os
import random
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx

if TYPE_CHECKING:
    from medjobs.datasets import DataSets
    from medjobs.versions import Models

FINAL = frozenset({"succeeded", "failed", "cancelled"})
"""States that nothing leaves."""

RETRIED = frozenset({429, 502, 503, 504})
"""Answers that mean: the same request may succeed in a moment."""

LONGEST_WAIT_S = 30.0
"""One `?wait=` request holds no longer than this; longer waits ask again."""

NewInput = str | os.PathLike[str] | Mapping[str, Any]
"""A path to upload, the id of an uploaded file (`sha256:...`), or an input as http-api.md gives it."""


class MedjobsError(Exception):
    """The server refused, or could not be reached. `code` is stable; `title` says what happened, `detail` what to do.

    `status` is the HTTP status, 0 where there was no answer; `problem` is the server's whole answer (RFC 9457).
    """

    def __init__(self, code: str, title: str, detail: str, status: int = 0, problem: Mapping[str, Any] | None = None):
        """From a problem, or made here."""
        self.code, self.title, self.detail, self.status, self.problem = code, title, detail, status, problem or {}
        super().__init__("; ".join([f"{code}: {title}. {detail}", *self.particulars]))

    @property
    def errors(self) -> list[Mapping[str, Any]]:
        """`{pointer, detail}` per bad field."""
        return list(self.problem.get("errors") or ())

    @property
    def particulars(self) -> list[str]:
        """A line for each bad field, and for each reason of a gate that was not passed."""
        fields = [f"{error.get('pointer', '')}: {error.get('detail', '')}" for error in self.errors]
        return [*fields, *map(str, self.problem.get("reasons") or ())]


class WaitTimeout(MedjobsError, TimeoutError):
    """The job had not ended when the time given to `Job.wait` was over; it goes on."""


@dataclass(frozen=True)
class Artifact:
    """A file that a job made; `item` is the position of the input it belongs to, None for the whole job."""

    name: str
    media_type: str
    href: str
    item: int | None = None


@dataclass(frozen=True)
class Event:
    """One server-sent event: `type` is state, progress, metric or log."""

    id: int
    type: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """A job's result; `items` stand in the order of the job's inputs, a failed one holds `error`."""

    items: list[dict[str, Any]]
    artifacts: list[Artifact]
    warnings: list[str]
    provenance: dict[str, Any]
    raw: dict[str, Any] = field(repr=False)
    """The whole answer of the server."""


def home() -> Path:
    """`MEDJOBS_HOME`, or `~/.medjobs`: where a running stack leaves its address and token."""
    return Path(os.environ.get("MEDJOBS_HOME") or "~/.medjobs").expanduser().absolute()


def _setting(variable: str, file: str, what: str) -> str:
    if value := os.environ.get(variable, "").strip():
        return value
    try:
        return (home() / file).read_text().strip()
    except OSError:
        pass
    title = f"No {what}: {variable} is not set and {home() / file} cannot be read"
    raise MedjobsError("no-server", title, f"Start the stack with `medjobs up`, or set {variable}.")


class Client:
    """A connection to one medjobs server. Safe to share between threads; close it, or use it in a `with`."""

    def __init__(self, url: str | None = None, token: str | None = None, *, timeout: float = 60.0, retries: int = 6):
        """Without `url` and `token`: `MEDJOBS_URL`, `MEDJOBS_TOKEN`, else what a running stack left in its home."""
        self.url = (url or _setting("MEDJOBS_URL", "url", "server address")).rstrip("/")
        token = token or _setting("MEDJOBS_TOKEN", "token", "token")
        self.retries = retries
        self._http = httpx.Client(base_url=self.url, timeout=timeout, headers={"Authorization": f"Bearer {token}"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @cached_property
    def datasets(self) -> DataSets:
        """Data sets for training: `client.datasets.add("mine", "images", "folder").wait()`."""
        from medjobs.datasets import DataSets

        return DataSets(self)

    @cached_property
    def models(self) -> Models:
        """Models, their versions and aliases: `client.models.promote("mine", 3)`."""
        from medjobs.versions import Models

        return Models(self)

    def upload(self, source: str | os.PathLike[str] | bytes, progress: Callable[[int], None] | None = None) -> str:
        """Upload a file (or bytes) and return its id; `progress` is called with each number of bytes sent."""

        def chunks() -> Iterator[bytes]:
            if isinstance(source, bytes):
                yield source
                return
            with open(source, "rb") as file:
                while chunk := file.read(1 << 18):
                    yield chunk
                    if progress is not None:
                        progress(len(chunk))

        headers = {"Content-Type": "application/octet-stream"}
        answer = self.send("POST", "/v1/files", content=chunks, headers=headers, timeout=httpx.Timeout(60, write=600))
        return str(answer.json()["id"])

    def submit(self, kind: str, *inputs: NewInput, idempotency_key: str | None = None, **options: Any) -> Job:
        """Submit one job over all `inputs` (paths are uploaded first).

        `options` are the fields of http-api.md: model, params, labels, priority, seed, timeout_s, run_after,
        callback_url; one that is None is left out.
        """
        body = self._body(kind, inputs, options)
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return Job(self, self.send("POST", "/v1/jobs", json=body, headers=headers).json())

    def submit_many(self, kind: str, inputs: Iterable[NewInput | Sequence[NewInput]], **options: Any) -> list[Job]:
        """One job per entry of `inputs`, in order; all of a request's 1,000 or none of them are accepted."""
        entries = [[one] if isinstance(one, (str, os.PathLike, Mapping)) else list(one) for one in inputs]
        bodies = [self._body(kind, entry, options) | {"idempotency_key": str(uuid.uuid4())} for entry in entries]
        made: list[Job] = []
        for start in range(0, len(bodies), 1000):
            answer = self.send("POST", "/v1/jobs:batch", json={"jobs": bodies[start : start + 1000]})
            made += [Job(self, job) for job in answer.json()["jobs"]]
        return made

    def job(self, job_id: str) -> Job:
        """The job of that id as it is now."""
        return Job(self, self.get(f"/v1/jobs/{quote(job_id, safe='')}"))

    def jobs(self, *, limit: int | None = None, **filters: Any) -> Iterator[Job]:
        """Jobs newest first, at most `limit`; filters: state, kind, model, created_after, labels={name: value}."""
        labels = filters.pop("labels", None) or {}
        query = {k: v for k, v in filters.items() if v is not None} | {f"label.{k}": v for k, v in labels.items()}
        left, cursor = limit, None
        while left is None or left > 0:
            page = {"limit": min(left or 100, 100)} | ({"cursor": cursor} if cursor else {})
            answer = self.get("/v1/jobs", query | page)
            yield from (Job(self, job) for job in answer["jobs"])
            cursor = answer["next"]
            if cursor is None:
                return
            left = None if left is None else left - len(answer["jobs"])

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """The JSON at `path`: "/v1/models", "/v1/kinds", "/v1/workers" and so on."""
        return self.send("GET", path, params=query).json()

    def drain(self, name: str) -> list[dict[str, Any]]:
        """Tell a worker, or all of a host, to end what they have and to stop; those that were told (admin)."""
        live = self.get("/v1/workers")["workers"]
        ids = [worker["id"] for worker in live if name in (worker["id"], worker["host"])]
        paths = [f"/v1/workers/{quote(one, safe='')}:drain" for one in ids]
        return [self.send("POST", path).json() for path in paths]

    def content(self, path: str) -> bytes:
        """The bytes at `path`, for example an artifact's `href`."""
        return self.send("GET", path).content

    def _body(self, kind: str, inputs: Iterable[NewInput], options: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in options.items() if value is not None}
        return {"kind": kind, "inputs": [self._input(one) for one in inputs], **given}

    def _input(self, one: NewInput) -> Any:
        if isinstance(one, Mapping):
            return dict(one)
        return one if isinstance(one, str) and one.startswith("sha256:") else self.upload(one)

    def train(self, kind: str, dataset: str, *, seed: int | None = None, **params: Any) -> Job:
        """Submit a training of a model of `kind` on a data set of yours.

        `params`: recipe, overrides, minutes, devices, parent, augment_with, ratio, name; one that is None is left out.
        """
        given = {name: value for name, value in params.items() if value is not None}
        return self.submit("training", params={"kind": kind, "dataset": dataset, **given}, seed=seed)

    def send(self, method: str, path: str, *, content: Callable[[], Any] | None = None, **rest: Any) -> httpx.Response:
        """Every request; tried again where that is safe, which it always is: each one is idempotent."""
        for attempt in range(self.retries + 1):
            last = attempt == self.retries
            try:
                answer = self._http.request(method, path, content=None if content is None else content(), **rest)
            except httpx.TransportError as error:
                if last or isinstance(error, httpx.ReadTimeout):
                    raise self.unreachable(error) from error
                time.sleep(_pause(attempt, None))
                continue
            if answer.status_code in RETRIED and not last:
                time.sleep(_pause(attempt, answer.headers.get("Retry-After")))
                continue
            return _checked(answer)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def unreachable(self, error: httpx.TransportError) -> MedjobsError:
        """What is said where no answer came."""
        title = f"No answer from {self.url} ({type(error).__name__})"
        return MedjobsError("unreachable", title, "Start the stack with `medjobs up`, or correct MEDJOBS_URL.")

    def stream(self, path: str, after: int) -> Iterator[Event]:
        """The server-sent events at `path` with an id above `after`, until the server closes."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        with self._http.stream("GET", path, headers=headers, timeout=httpx.Timeout(60, read=120)) as answer:
            if answer.is_error:
                answer.read()
            yield from _events(_checked(answer).iter_lines())


class Job:
    """A job on the server; `data` is its JSON as last seen."""

    def __init__(self, client: Client, data: dict[str, Any]) -> None:
        """`data`: the job as the server answered it."""
        self.client, self.data = client, data

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.kind} {self.state}>"

    @property
    def id(self) -> str:
        """The job's UUID."""
        return str(self.data["id"])

    @property
    def kind(self) -> str:
        """Its kind, such as "diagnosis"."""
        return str(self.data["kind"])

    @property
    def state(self) -> str:
        """Its state when last seen: queued, running, succeeded, failed or cancelled."""
        return str(self.data["state"])

    @property
    def ended(self) -> bool:
        """Whether that state is final."""
        return self.state in FINAL

    def refresh(self, wait: float = 0.0) -> Self:
        """Ask the server again; `wait` > 0 lets it hold the answer until the job ends, at most that many seconds."""
        self.data = self.client.get(f"/v1/jobs/{self.id}", {"wait": f"{wait:.2f}"} if wait > 0 else None)
        return self

    def wait(self, timeout: float | None = None) -> Self:
        """Return once the job has ended, whichever way; raise `WaitTimeout` after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.ended:
            left = LONGEST_WAIT_S if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout("wait-timeout", f"The job {self.id} is still {self.state}", "It goes on; wait again.")
            asked = time.monotonic()
            self.refresh(min(left, LONGEST_WAIT_S))
            if not self.ended and time.monotonic() - asked < 0.2:
                time.sleep(0.2)  # The server had no thread to hold this wait and answered at once.
        return self

    def result(self) -> Result:
        """The result; raises `MedjobsError` with code job-not-finished, job-failed or job-cancelled."""
        raw = self.client.get(f"/v1/jobs/{self.id}/result")
        names = ("name", "media_type", "href", "item")
        artifacts = [Artifact(**{name: artifact.get(name) for name in names}) for artifact in raw["artifacts"]]
        return Result(raw["items"], artifacts, raw["warnings"], raw["provenance"], raw)

    def artifact(self, name: str) -> bytes:
        """The bytes of one of the job's files, such as "report.html"."""
        return self.client.content(f"/v1/jobs/{self.id}/artifacts/{quote(name, safe='')}")

    def events(self, after: int = 0) -> Iterator[Event]:
        """The job's events in order, live, until it ends; a broken connection is taken up where it broke."""
        failures = 0
        while True:
            try:
                for event in self.client.stream(f"/v1/jobs/{self.id}/events", after):
                    after, failures = event.id, 0
                    yield event
                    if event.type == "state" and event.data.get("state") in FINAL:
                        return
                if self.refresh().ended:
                    return
            except (httpx.TransportError, MedjobsError) as error:
                if isinstance(error, MedjobsError) and error.status not in RETRIED:
                    raise
                if failures >= self.client.retries:
                    raise error if isinstance(error, MedjobsError) else self.client.unreachable(error) from error
            failures += 1
            time.sleep(_pause(failures, None))

    def cancel(self) -> Self:
        """Ask for the job's end; a job that ended otherwise raises `MedjobsError` (status 409)."""
        self.data = self.client.send("POST", f"/v1/jobs/{self.id}:cancel").json()
        return self

    def rerun(self) -> Job:
        """A new job with the same pinned model, inputs, parameters and seed."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        return Job(self.client, self.client.send("POST", f"/v1/jobs/{self.id}:rerun", headers=headers).json())


def _checked(answer: httpx.Response) -> httpx.Response:
    if not answer.is_error:
        return answer
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    title = problem.get("title") or answer.reason_phrase or "Error"
    detail = problem.get("detail") or f"The server answered {answer.status_code} without a reason; see its log."
    raise MedjobsError(problem.get("code") or "http-error", title, detail, answer.status_code, problem)


def _pause(attempt: int, retry_after: str | None) -> float:
    """Seconds before the next try: what the server asked for (10 at most), else doubling from .2 with jitter."""
    if retry_after is not None and retry_after.isdecimal():
        return min(float(retry_after), 10.0)
    return float(min(0.2 * 2**attempt, 5.0) * random.uniform(0.75, 1.25))  # noqa: S311  jitter, no secret


def _events(lines: Iterable[str]) -> Iterator[Event]:
    """Events of a `text/event-stream` (WHATWG HTML, 9.2.6): fields until an empty line; comments are skipped."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            if "data" in fields:
                yield Event(int(fields.get("id") or 0), fields.get("event", "message"), json.loads(fields["data"]))
            fields = {}
            continue
        name, _, value = line.partition(":")
        if name:
            value = value.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value
