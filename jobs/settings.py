"""Every setting of medjobs with its default and its reason. Each is read from `MEDJOBS_<NAME>` in the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

LONGEST_S = 86_400.0
"""No lease may be longer: a day."""

Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
Long = Annotated[float, Field(gt=0, le=LONGEST_S, allow_inf_nan=False)]
Pause = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
Days = Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
"""Each guard has a limit in both directions: a variable may move it, and cannot switch it off."""


_BROKERS = "use redis://HOST:PORT/0, rediss://HOST:PORT/0 (TLS) or unix:///PATH?db=0"


def _broker(url: str) -> str:
    """As kombu spells it: a unix socket is `redis+socket:///PATH?virtual_host=0` there, and `unix:///PATH?db=0` in
    redis-py and everywhere else."""
    try:
        parts = urlsplit(url)
    except ValueError:  # whose text may quote the password
        raise ValueError(_BROKERS) from None
    socket = parts.scheme in ("unix", "redis+socket")
    asked = dict(parse_qsl(parts.query))
    number = asked.get("virtual_host", asked.get("db", "")) if socket else parts.path.strip("/")
    lost = parts.scheme == "unix" and (parts.netloc or asked.keys() - {"db"})  # kombu has no place for a password there
    if url and (not (socket or parts.scheme in ("redis", "rediss")) or not (number or "0").isdecimal() or lost):
        raise ValueError(_BROKERS)
    return f"redis+socket://{parts.path}?virtual_host={number or 0}" if parts.scheme == "unix" else url


RedisUrl = Annotated[str, AfterValidator(_broker)]

_BELOW = (
    ("renew_inference_s", 2, "lease_inference_s", "one renewal may come to nothing"),
    ("renew_long_s", 2, "lease_long_s", "one renewal may come to nothing"),
    ("heartbeat_s", 2, "worker_dead_s", "one heartbeat may come to nothing"),
    ("control_s", 2, "drain_s", "a long job must hear of a drain before it is killed"),
    ("database_wait_s", 1, "lease_inference_s", "who waits for the database must hear no before its lease is gone"),
    ("database_wait_s", 1, "lease_long_s", "who waits for the database must hear no before its lease is gone"),
    ("database_wait_s", 2, "silent_s", "a child that waits for the database is not stuck"),
    ("webhook_timeout_s", 2, "webhook_reserve_s", "a call, its name resolved, must end before it is made again"),
)
"""Pairs of settings of which the first, taken so many times, must be below the second, and why."""


class Settings(BaseModel):
    """One installation's settings; an empty URL means the embedded default under `home`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(default=Path("~/.medjobs"), description="Folder of the embedded stack: database, files, logs.")
    database_url: str = Field(default="", description="SQLAlchemy URL; empty: SQLite in `home`.")
    redis_url: RedisUrl = Field(
        default="", description="`redis://`, `rediss://` (TLS) or `unix:///PATH`; empty: a unix socket in `home`."
    )
    storage_url: str = Field(default="", description="fsspec URL of the file storage; empty: a folder in `home`.")

    max_upload_bytes: Count = Field(default=2 << 30, description="Largest file accepted: a long CT series fits.")
    max_body_bytes: Count = Field(default=16 << 20, description="Largest JSON body: 1,000 jobs with labels fit.")
    max_batch: Count = Field(default=1000, description="Jobs in one POST /v1/jobs:batch: one transaction stays short.")
    max_queued: Count = Field(default=200_000, description="Waiting jobs beyond which submits get 429.")
    max_wait_s: Pause = Field(default=60.0, description="Longest ?wait=: below the idle timeout of usual proxies.")

    lease_inference_s: Long = Field(default=30.0, description="A dead inference worker's jobs come back after this.")
    renew_inference_s: Seconds = Field(default=5.0, description="Six renewals per lease: five may be lost.")
    lease_long_s: Long = Field(default=120.0, description="A long job survives a database restart of this length.")
    renew_long_s: Seconds = Field(default=15.0, description="Eight renewals per lease.")
    drain_s: Long = Field(default=60.0, description="Time given on SIGTERM before jobs are handed back.")
    timeout_grace_s: Pause = Field(default=10.0, description="Beyond a job's timeout_s before its process exits.")
    control_s: Seconds = Field(default=2.0, description="How often a long job looks at its cancel and drain columns.")
    load_s: Long = Field(default=300.0, description="Longest load of a model; a stuck driver never ends.")
    stall_s: Long = Field(default=600.0, description="A long job without a step for this long loses its lease.")
    silent_s: Seconds = Field(default=60.0, description="A long job's process that shows no life so long is killed.")
    admission_s: Seconds = Field(default=30.0, description="A job without room on its device comes again after this.")

    max_attempts: int = Field(
        default=12,
        ge=1,
        le=1000,
        description="Temporary failures before a job is failed: a disk full for twenty minutes fails none.",
    )
    max_crashes: int = Field(
        default=3, ge=1, le=100, description="Dead workers before a job is taken for what kills them."
    )
    retry_base_s: Seconds = Field(default=2.0, description="First retry delay; doubles each time.")
    retry_cap_s: Long = Field(default=300.0, description="Longest retry delay.")

    heartbeat_s: Seconds = Field(default=5.0, description="How often a worker proves that its process lives.")
    worker_dead_s: Seconds = Field(default=20.0, description="Silence after which a worker counts as dead.")
    settled_s: Seconds = Field(default=3.0, description="Registered so long, a worker can start: it may again at once.")
    restart_cap_s: Seconds = Field(default=30.0, description="Longest pause between starts of one that cannot.")
    keeper_interval_s: Seconds = Field(default=1.0, description="Pause between the keeper's sweeps.")
    sweep_s: Seconds = Field(default=60.0, description="Pause between its sweeps over what is to be deleted: no hurry.")
    resend_s: Seconds = Field(default=10.0, description="A message older than its list's head by this is lost.")
    age_boost_s: Long = Field(default=600.0, description="Waiting this long raises a job by one priority.")

    database_wait_s: Seconds = Field(
        default=20.0,
        description="Longest wait for a turn to write, or a statement; by default two thirds of a lease below 30 s.",
    )
    redis_timeout_s: Seconds = Field(default=2.0, description="A worker's Redis that is silent so long is dead to it.")
    publish_timeout_s: Seconds = Field(default=1.0, description="A submit never waits longer for Redis.")
    publish_pause_s: Pause = Field(default=5.0, description="After a failed publish the keeper sends, not the API.")

    keep_inputs_days: Days = Field(default=30.0, description="Inputs are kept this long after their job; 0: at once.")
    retention_days: Days | None = Field(default=None, description="Records are kept this long; empty: for ever.")
    blob_grace_s: float = Field(
        default=3600.0,
        ge=0,
        le=30 * 86_400,
        allow_inf_nan=False,
        description="Bytes without an owner are deleted after this.",
    )

    webhook_allow: str = Field(
        default="", description="Hosts and networks (10.1.0.0/16) that webhooks may call though private or not https."
    )
    webhook_timeout_s: Seconds = Field(default=10.0, description="A webhook's host gets this to connect and to answer.")
    webhook_reserve_s: Seconds = Field(default=60.0, description="A call whose keeper died is made again after this.")

    client_silence_s: Seconds = Field(
        default=60.0, description="A client that stops in a request keeps a thread so long."
    )
    api_threads: Count = Field(default=64, description="Request threads per API process.")
    inference_threads: Count = Field(
        default=96, description="Jobs that one inference worker holds: three full batches."
    )
    torch_threads: Count = Field(default=1, description="Threads of one predict on a CPU; decoding takes the others.")
    only_models: str = Field(
        default="", description="Models that a worker is set apart for, with commas between them; empty: it takes all."
    )
    warm_models: bool = Field(default=True, description="Load default models at start: the first job need not wait.")
    device_memory: int = Field(
        default=0, ge=0, description="Bytes of its device that a worker may fill with models; 0: all that there are."
    )
    cpu_fallback: bool = Field(
        default=False, description="Predict on the CPU what is too large for the GPU: slow, and said in the result."
    )
    training_memory: int = Field(
        default=2 << 30, ge=0, description="Free bytes on a GPU without which no long job starts."
    )
    batch_delay_ms: float = Field(
        default=2.0,
        ge=0,
        le=10_000,
        allow_inf_nan=False,
        description="Longest wait for a fuller batch while others decode.",
    )

    metrics_bind: str = Field(
        default="", description="HOST:PORT at which workers and keepers serve Prometheus metrics; empty: nowhere."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Lines of the log: `text`, or `json`, an object a line for a log collector."
    )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The settings that `MEDJOBS_*` variables give; raises `pydantic.ValidationError` naming a bad one.

        `MEDJOBS_<NAME>_FILE` names a file that holds the value, as container platforms hand out secrets; the variable
        itself goes first.
        """
        names = {variable(name): name for name in cls.model_fields}
        given = {names[k]: v for k, v in environ.items() if k in names and v != ""}
        for name in cls.model_fields.keys() - given.keys():
            if file := environ.get(f"{variable(name)}_FILE"):
                given[name] = _content(name, file)
        return cls.model_validate(given)

    @model_validator(mode="before")
    @classmethod
    def _expand_home(cls, values: dict[str, object]) -> dict[str, object]:
        home = Path(str(values.get("home", "~/.medjobs"))).expanduser().absolute()
        return {**values, "home": home}

    @model_validator(mode="before")
    @classmethod
    def _fit_the_lease(cls, values: dict[str, object]) -> dict[str, object]:
        try:
            leases = [float(str(values[name])) for name in ("lease_inference_s", "lease_long_s") if name in values]
        except ValueError:
            return values  # the field's own check names it
        return {"database_wait_s": min([20.0, *(lease * 2 / 3 for lease in leases)]), **values}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Raises ValueError with a line for each pair of times that contradict one another."""
        broken = [
            f"{variable(small)} ({getattr(self, small):g}) must be below {'half of ' if times == 2 else ''}"
            f"{variable(large)} ({getattr(self, large):g}): {why}"
            for small, times, large, why in _BELOW
            if getattr(self, small) * times >= getattr(self, large)
        ]
        if broken:
            raise ValueError("; ".join(broken))
        return self

    @property
    def set_apart(self) -> list[str]:
        """The names in `only_models`."""
        return [name.strip() for name in self.only_models.split(",") if name.strip()]

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{self.home / 'medjobs.db'}"

    @property
    def redis(self) -> str:
        """The Redis URL in force (a unix socket path must stay below 108 bytes)."""
        return self.redis_url or f"redis+socket://{self.home / 'redis.sock'}"

    @property
    def storage(self) -> str:
        """The fsspec URL of the storage in force."""
        return self.storage_url or (self.home / "files").as_uri()


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"MEDJOBS_{name.upper()}"


def _content(name: str, path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, ValueError) as error:
        reason = {"reason": getattr(error, "strerror", None) or "it is not text"}
        trouble = PydanticCustomError("file", "its file cannot be read: {reason}", reason)
        line = InitErrorDetails(type=trouble, loc=(name,), input=None)
        raise ValidationError.from_exception_data(Settings.__name__, [line]) from None


def complaints(error: ValidationError) -> list[str]:
    """What is wrong with the settings, a sentence each that names the variable and no value but numbers."""
    found = error.errors(include_input=False, include_url=False)
    named = [f"{variable(str(one['loc'][0]))}: " if one["loc"] else "" for one in found]
    return [name + one["msg"].removeprefix("Value error, ") for name, one in zip(named, found, strict=True)]
