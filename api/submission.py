"""The bodies that submit work, as pydantic models; what needs the registry of kinds is checked in accepting.py."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

MOST_LABELS = 32

_LABEL = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*")
"""Labels are shown in terminals and logs of others: no control characters, line separators or lone surrogates."""


def _plain(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError("use letters of any script, digits, marks and spaces, without control characters")
    return text


def _text_only(value: object) -> object:
    """pydantic would take a number for seconds since 1970; RFC 3339 text is what the contract says."""
    if value is None or (isinstance(value, str) and "T" in value.upper()):
        return value
    raise ValueError("write the time as RFC 3339, for example 2030-01-31T08:00:00Z")


def _web_address(url: str) -> str:
    """Early word on a webhook's target: its form. Whether it may be called is for the settings to say."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("use an https URL") from None
    form = parts.scheme in ("https", "http") and host and parts.username is None
    if not form or not _LABEL.fullmatch(url) or " " in url:
        raise ValueError("use an https URL without user name or password")
    return url


LabelName = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_plain)]
LabelValue = Annotated[str, StringConstraints(max_length=256), AfterValidator(_plain)]
Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_text_only)]
KeyText = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]
"""An Idempotency-Key: visible ASCII."""


class Submission(BaseModel):
    """One job to do."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)

    kind: str = Field(max_length=100, description="A kind that `GET /v1/kinds` lists.", examples=["diagnosis"])
    model: str | None = Field(
        default=None,
        max_length=200,
        description="`name` (its production version), `name@version` or `name@alias`; null: the kind's default.",
    )
    inputs: list[Any] = Field(
        default=[],
        description='Each a file id, `{"series": [ids]}`, `{"archive": id}` or `{"data": {...}}`.',
        json_schema_extra={"x-items": "Input"},
    )
    params: dict[str, Any] = Field(default={}, description="The kind's parameters; see `GET /v1/kinds/{kind}`.")
    priority: int = Field(default=5, ge=0, le=9, description="0 (lowest) to 9.")
    labels: dict[LabelName, LabelValue] = Field(default={}, max_length=MOST_LABELS, description="Names to filter by.")
    run_after: Moment | None = Field(default=None, description="Not before this time.")
    timeout_s: float | None = Field(
        default=None, gt=0, le=31 * 86400, description="Run time allowed, in seconds; null: the kind's own."
    )
    callback_url: Annotated[str, AfterValidator(_web_address)] | None = Field(
        default=None, max_length=2000, description="https URL that is told when the job has ended."
    )
    seed: int = Field(default=0, ge=0, lt=1 << 32, description="Seed of everything random in the job.")

    def run_at(self) -> float | None:
        """`run_after` in seconds since 1970."""
        return None if self.run_after is None else self.run_after.timestamp()


class BatchEntry(Submission):
    """One job of a batch."""

    idempotency_key: KeyText | None = Field(default=None, description="As the header Idempotency-Key, for this job.")


class Batch(BaseModel):
    """Up to 1,000 jobs in one request."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    jobs: list[Any] = Field(min_length=1, json_schema_extra={"x-items": "BatchEntry", "maxItems": 1000})
    atomic: bool = Field(default=True, description="All or nothing; false: each entry is answered for itself.")


class SeriesInput(BaseModel):
    """One item: the instances of one DICOM series."""

    model_config = ConfigDict(extra="forbid", strict=True)
    series: list[str] = Field(min_length=1, max_length=10_000, description="File ids, in any order.")


class ArchiveInput(BaseModel):
    """A zip of files or series."""

    model_config = ConfigDict(extra="forbid", strict=True)
    archive: str = Field(description="File id of the zip.")


class DataInput(BaseModel):
    """Small JSON instead of a file."""

    model_config = ConfigDict(extra="forbid", strict=True)
    data: dict[str, Any]
