"""What the torture does inside the processes of its stack: crash points, and guards that are switched off.

Python loads a module of this name by itself at its start, and this folder stands on the PYTHONPATH of the torture's
processes alone. Nothing of it is in the wheel, and no code of the wheel looks for it. `$TORTURE_SEAM` is a folder:

- `arm/POINT`: the next process that comes by the point takes the file away and dies of SIGKILL.
- `off/GUARD`: while the file is there, that guard is off (`five-times` is none: every message is sent five times).
- `clock`: seconds by which the clock is wrong, in processes that have `TORTURE_CLOCK`: Python's, and SQLite's, which is
  its host's.
- `commits`: one line for each completion that the database accepted, as the process that made it saw it.
"""

from __future__ import annotations

import importlib.abc
import json
import os
import random
import signal
import sys
import threading
import time
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

CLOCK = "TORTURE_CLOCK" in os.environ
SEAM = Path(os.environ["TORTURE_SEAM"]) if "TORTURE_SEAM" in os.environ else None


def off(guard):
    """Whether a guard is switched off now."""
    return SEAM is not None and (SEAM / "off" / guard).exists()


def passing(point):
    """Die here, if the torture has armed the point and no other process was first."""
    try:
        os.unlink(SEAM / "arm" / point)
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def here(point):
    """The point's name in this sort of process."""
    return f"{point}.{'long' if 'workers.longtask' in sys.modules else 'inference'}"


_inside = threading.local()
"""`point`: what this thread passes just before its transaction is committed."""


@contextmanager
def _inside_of(point):
    _inside.point = point
    try:
        yield
    finally:
        _inside.point = None


_true_time = time.time


def offset():
    """By how much the clock is wrong now, in seconds."""
    try:
        return float((SEAM / "clock").read_text())
    except (FileNotFoundError, ValueError):
        return 0.0


def _clock(module):
    from sqlalchemy.ext.compiler import compiles

    true = module._sqlite
    compiles(module.now, "sqlite")(lambda element, compiler, **kw: f"({true(element, compiler)} + torture_offset())")


def _engine(module):
    if CLOCK:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        @event.listens_for(Engine, "connect")
        def _add(connection, _record):
            if hasattr(connection, "create_function"):
                connection.create_function("torture_offset", 0, offset)

    write = module.Database.write

    @contextmanager
    def watched(self, *, synced=True):
        with write(self, synced=synced) as connection:
            yield connection
            point = getattr(_inside, "point", None)
            if point is not None:
                passing(point)

    module.Database.write = watched


def _jobs(module):
    insert, claim, complete, renew = module.insert, module.claim, module.complete, module.renew
    expire_leases, mark_sent = module.expire_leases, module.mark_sent

    @wraps(insert)
    def inserting(*args, **kw):
        with _inside_of("after-insert"):
            done = insert(*args, **kw)
        passing("after-insert-commit")
        return done

    @wraps(claim)
    def claiming(db, job_ids, worker_id, lease_s, pool, *more):
        found = claim(db, job_ids, worker_id, lease_s, pool, *more)
        if found:
            passing(f"after-claim.{pool}")
        return found

    @wraps(complete)
    def completing(db, done):
        if done and off("fence"):
            done = [one._replace(fence=_current(db, one)) for one in done]
        with _inside_of(here("before-commit")):
            accepted = complete(db, done)
        _witness([[one.id, one.fence, os.getpid()] for one in done if one.id in accepted])
        if accepted:
            passing(here("after-commit"))
        return accepted

    @wraps(renew)
    def renewing(db, worker_id, held, lease_s):
        found = renew(db, worker_id, held, lease_s)
        return found._replace(lost=set()) if off("fence") else found

    @wraps(expire_leases)
    def expiring(*args, **kw):
        return [] if off("lease") else expire_leases(*args, **kw)

    @wraps(mark_sent)
    def marking(*args, **kw):
        mark_sent(*args, **kw)
        passing("after-mark-sent")

    module.insert, module.claim, module.complete, module.renew = inserting, claiming, completing, renewing
    module.expire_leases, module.mark_sent = expiring, marking


def _current(db, completion):
    from sqlalchemy import text

    with db.read() as connection:
        asked = connection.execute(text("SELECT fence FROM jobs WHERE id = :id"), {"id": completion.id})
        return asked.scalar_one()


def _witness(lines):
    if lines:
        handle = os.open(SEAM / "commits", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(handle, "".join(json.dumps(line) + "\n" for line in lines).encode())
        os.close(handle)


def _submitting(module):
    keys = module._keys
    module._keys = lambda *args: {} if off("idempotency") else keys(*args)


def _sweeps(module):
    for name in ("send_unsent", "send_lost"):
        sweep = getattr(module.Sweeps, name)

        def swept(self, sweep=sweep):
            return None if off("outbox") else sweep(self)

        setattr(module.Sweeps, name, wraps(sweep)(swept))


def _disk(module):
    publish, write_many = module.Disk.publish, module.Disk.write_many

    def torn(target, content):
        """In place and in two halves, as a program without the guard would write."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as stream:
            stream.write(content[: len(content) // 2])
            stream.flush()
            passing("half-written")
            time.sleep(0.05)
            stream.write(content[len(content) // 2 :])

    @wraps(publish)
    def publishing(self, stream, temporary, path):
        if not off("atomic"):
            return publish(self, stream, temporary, path)
        stream.flush()
        return torn(self.root / path, temporary.read_bytes())

    @wraps(write_many)
    def writing(self, files):
        if off("atomic"):
            for path, content in files.items():
                torn(self.root / path, content)
        else:
            write_many(self, files)

    module.Disk.publish, module.Disk.write_many = publishing, writing


def _files(module):
    put_artifacts = module.Storage.put_artifacts

    @wraps(put_artifacts)
    def putting(self, artifacts):
        passing(here("after-run"))
        put_artifacts(self, artifacts)
        passing(here("after-file-write"))

    module.Storage.put_artifacts = putting


def _dispatch(module):
    publish = module.Dispatcher._publish

    @wraps(publish)
    def publishing(self, messages):
        if off("five-times"):
            messages = list(messages) * 5
            random.shuffle(messages)
        sent = publish(self, messages)
        passing("after-publish")
        return sent

    module.Dispatcher._publish = publishing


def _app(module):
    connection = module._connection

    def patched(*args):
        found = connection(*args)
        found["broker_transport_options"]["visibility_timeout"] = 2
        return found

    module._connection = patched


def _webhooks(module):
    post = module.post

    @wraps(post)
    def posting(*args, **kw):
        status = post(*args, **kw)
        passing("after-webhook")
        return status

    module.post = posting


PATCHES = {
    "db.engine": _engine,
    "db.jobs": _jobs,
    "db.submitting": _submitting,
    "workers.sweeps": _sweeps,
    "workers.webhooks": _webhooks,
    "storage.disk": _disk,
    "storage.files": _files,
    "broker.dispatch": _dispatch,
    "broker.app": _app,
}


def _both(load, patch):
    def exec_module(module):
        load(module)
        patch(module)

    return exec_module


class _Patching(importlib.abc.MetaPathFinder):
    """Patches a module right after it was imported."""

    def find_spec(self, name, path, target=None):
        patch = PATCHES.get(name)
        if patch is None:
            return None
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target) if finder is not self else None
            if spec is not None and spec.loader is not None:
                spec.loader.exec_module = _both(spec.loader.exec_module, patch)
                return spec
        return None


if SEAM is not None:
    if CLOCK:
        PATCHES["db.clock"] = _clock
        time.time = lambda: _true_time() + offset()
    sys.meta_path.insert(0, _Patching())
