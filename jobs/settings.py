"""Every setting of medjobs with its default and its reason. Each is read from `MEDJOBS_<NAME>` in the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """One installation's settings; an empty URL means the embedded default under `home`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(default=Path("~/.medjobs"), description="Folder of the embedded stack: database, files, logs.")
    database_url: str = Field(default="", description="SQLAlchemy URL; empty: SQLite in `home`.")
    redis_url: str = Field(default="", description="Redis URL; empty: a unix socket in `home`.")
    storage_url: str = Field(default="", description="fsspec URL of the file storage; empty: a folder in `home`.")

    max_upload_bytes: int = Field(default=2 << 30, description="Largest file accepted: a long CT series fits.")
    max_body_bytes: int = Field(default=16 << 20, description="Largest JSON body: 1,000 jobs with labels fit.")
    max_batch: int = Field(default=1000, description="Jobs in one POST /v1/jobs:batch: one transaction stays short.")
    max_queued: int = Field(default=200_000, description="Waiting jobs beyond which submits get 429.")
    max_wait_s: float = Field(default=60.0, description="Longest ?wait=: below the idle timeout of usual proxies.")

    lease_inference_s: float = Field(default=30.0, description="A dead inference worker's jobs come back after this.")
    renew_inference_s: float = Field(default=5.0, description="Six renewals per lease: five may be lost.")
    lease_long_s: float = Field(default=120.0, description="A long job survives a database restart of this length.")
    renew_long_s: float = Field(default=15.0, description="Eight renewals per lease.")
    drain_s: float = Field(default=60.0, description="Time given on SIGTERM before jobs are handed back.")
    timeout_grace_s: float = Field(default=10.0, description="Beyond a job's timeout_s before its process exits.")
    control_s: float = Field(default=2.0, description="How often a long job looks at its cancel and drain columns.")

    max_attempts: int = Field(
        default=12, description="Temporary failures before a job is failed: a disk full for twenty minutes fails none."
    )
    max_crashes: int = Field(default=3, description="Dead workers before a job is taken for what kills them.")
    retry_base_s: float = Field(default=2.0, description="First retry delay; doubles each time.")
    retry_cap_s: float = Field(default=300.0, description="Longest retry delay.")

    heartbeat_s: float = Field(default=5.0, description="How often a worker proves that its process lives.")
    worker_dead_s: float = Field(default=20.0, description="Silence after which a worker counts as dead.")
    keeper_interval_s: float = Field(default=1.0, description="Pause between the keeper's sweeps.")
    resend_s: float = Field(default=10.0, description="A message older than its list's head by this is lost.")
    age_boost_s: float = Field(default=600.0, description="Waiting this long raises a job by one priority.")

    publish_timeout_s: float = Field(default=1.0, description="A submit never waits longer for Redis.")
    publish_pause_s: float = Field(default=5.0, description="After a failed publish the keeper sends, not the API.")

    keep_inputs_days: float = Field(default=30.0, description="Inputs are kept this long after their job; 0: at once.")
    retention_days: float | None = Field(default=None, description="Records are kept this long; empty: for ever.")
    blob_grace_s: float = Field(default=3600.0, description="Bytes without an owner are deleted after this.")

    webhook_allow: str = Field(
        default="", description="Hosts and networks (10.1.0.0/16) that webhooks may call though private or not https."
    )

    api_threads: int = Field(default=64, description="Request threads per API process.")
    inference_threads: int = Field(default=96, description="Jobs that one inference worker holds: three full batches.")
    torch_threads: int = Field(default=1, description="Threads of one predict on a CPU; decoding takes the others.")
    warm_models: bool = Field(default=True, description="Load default models at start: the first job need not wait.")
    training_memory: int = Field(default=2 << 30, description="Free bytes on a GPU without which no long job starts.")
    batch_delay_ms: float = Field(default=2.0, description="Longest wait for a fuller batch while others decode.")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The settings that `MEDJOBS_*` variables give; raises `pydantic.ValidationError` naming a bad one."""
        names = {f"MEDJOBS_{name.upper()}": name for name in cls.model_fields}
        return cls.model_validate({names[k]: v for k, v in environ.items() if k in names and v != ""})

    @model_validator(mode="before")
    @classmethod
    def _expand_home(cls, values: dict[str, object]) -> dict[str, object]:
        home = Path(str(values.get("home", "~/.medjobs"))).expanduser().absolute()
        return {**values, "home": home}

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
