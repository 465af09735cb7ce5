"""What most projects have: a Celery task with late acknowledgement that writes its result to a table."""

from __future__ import annotations

import os
import sqlite3
import time

from celery import Celery

VISIBILITY_S = 4
"""Redis gives a message back after this (an hour by default, and then a killed worker's jobs wait for an hour)."""

app = Celery("plain", broker=os.environ.get("PLAIN_REDIS", "memory://"))
app.conf.update(
    task_acks_late=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=1, task_ignore_result=True,
    broker_transport_options={"visibility_timeout": VISIBILITY_S}, broker_connection_retry_on_startup=True,
)  # fmt: skip


@app.task(name="plain.mean")  # type: ignore[untyped-decorator]
def mean(key: str, values: list[int], seconds: float) -> None:
    """Compute, and write the result down."""
    time.sleep(seconds)  # the model
    with sqlite3.connect(os.environ["PLAIN_RESULTS"], timeout=30) as connection:
        connection.execute("INSERT INTO results VALUES (?, ?, ?)", (key, sum(values) / len(values), len(values)))
    time.sleep(0.3)  # tells somebody of it
