"""How every process of this package starts: its import path, its log, its tie to its parent."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import site
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from jobs import logs
from jobs.settings import Settings, complaints

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from db.engine import Database
    from storage.files import Storage

log = logging.getLogger("medjobs.workers")

SUPERVISED = "MEDJOBS_SUPERVISED"
"""Environment variable by which a supervisor tells its children that they have one."""

ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds our packages: a checkout, or site-packages."""


def clean_path() -> None:
    """A folder `models/` or `jobs/` in the working directory must not take the place of ours.

    Python puts the working directory first for `python -m`, and `-P` is not always there to stop it.
    """
    here = {"", os.getcwd()} - {str(ROOT)}
    sys.path[:] = [entry for entry in sys.path if entry not in here]


def child_environment(base: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child, which runs with `-P` elsewhere: a checkout is found by PYTHONPATH alone."""
    if str(ROOT) in (*site.getsitepackages(), site.getusersitepackages()):
        return dict(base)
    others = [entry for entry in base.get("PYTHONPATH", "").split(os.pathsep) if entry and entry != str(ROOT)]
    return {**base, "PYTHONPATH": os.pathsep.join([str(ROOT), *others])}


def set_up_logging(settings: Settings) -> None:
    """To standard error, ours from INFO, Celery's and kombu's from WARNING: at INFO they print a line per task."""
    logs.set_up(settings.log_format, logging.INFO)
    for name in ("celery", "kombu", "amqp"):
        logging.getLogger(name).setLevel(logging.WARNING)


def register_shipped(db: Database, storage: Storage) -> None:
    """Bring the model versions of this release into the registry.

    While the storage is away a worker starts all the same: what jobs may name is in the registry already, and the next
    process that starts registers the rest.
    """
    from jobs.errors import StorageUnavailable
    from registry.shipped import import_shipped

    try:
        import_shipped(db, storage)
    except StorageUnavailable:
        log.warning("the storage is away; the models of this release are registered at the next start")


def read_settings() -> Settings:
    """The settings of the environment; where they are wrong the process ends and says which, and why."""
    try:
        return Settings.from_environment()
    except ValidationError as error:
        sys.exit("\n  ".join(["bad settings:", *complaints(error)]))


def serve_metrics(bind: str, registry: CollectorRegistry, shared: Path | None = None) -> None:
    """Serve them at `HOST:PORT`, or end and say why that cannot be."""
    from workers.exposing import BadBind, serve

    try:
        serve(bind, registry, shared)
    except BadBind as error:
        sys.exit(str(error))


def die_with_parent() -> None:
    """On Linux: SIGTERM when the supervisor dies, or has died already, so that no worker outlives it unseen."""
    supervisor = os.environ.get(SUPERVISED)
    if sys.platform == "linux" and supervisor:
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if os.getppid() != int(supervisor):
            signal.raise_signal(signal.SIGTERM)
