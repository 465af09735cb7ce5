"""The Celery app. Each setting that is not Celery's default stands here with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from celery import Celery
from kombu.entity import Exchange, Queue

from broker.queues import POOLS, PRIORITIES, queue
from jobs.needs import all_queues
from jobs.settings import Settings


def make_app(settings: Settings, app_class: type[Celery] = Celery, also: Sequence[str] = ()) -> Celery:
    """A Celery app of this installation; opens no connection. `also`: queues that not every installation has."""
    app = app_class("medjobs", broker=settings.redis, set_as_current=False)
    app.conf.update(_messages(also) | _reliability() | _connection(settings.redis_timeout_s))
    return app


def _queue(name: str) -> Queue:
    make: Any = Queue  # kombu's constructors carry no types
    exchange: Any = Exchange
    return cast(Queue, make(name, exchange(name), routing_key=name))


def _messages(also: Sequence[str]) -> dict[str, Any]:
    """What a message is, and where it goes."""
    return {
        # The queues of each sort of worker; a name that nobody consumes is a mistake, so none is made on the fly.
        "task_queues": [*(_queue(queue(pool, need)) for pool in POOLS for need in all_queues()), *map(_queue, also)],
        "task_default_queue": queue("inference"),
        "task_create_missing_queues": False,
        # JSON only: a pickle from whoever reaches Redis would run code in the worker.
        "task_serializer": "json",
        "accept_content": ["json"],
        # The state of a job is its row. There is no result backend, and no task has a result to store.
        "result_backend": None,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        # Flower shows a job from the moment that it is queued, and everything that becomes of it.
        "task_send_sent_event": True,
        "worker_send_task_events": True,
        "task_track_started": True,
        # Redis has no persistent delivery; 1 spares kombu the pretence.
        "task_default_delivery_mode": 1,
    }


def _reliability() -> dict[str, Any]:
    """Recovery belongs to the lease in the database, so Celery is told to have none of its own."""
    return {
        # Acknowledged on arrival: Redis' visibility timeout gives a lost message back after an hour, and would then
        # run every long job twice. The lease gives it back in seconds.
        "task_acks_late": False,
        "task_reject_on_worker_lost": False,
        # A worker takes a message only when it can begin it, so nothing lies unseen in a worker that dies, and the
        # keeper can tell a lost message from one that waits.
        "worker_disable_prefetch": True,
        "worker_prefetch_multiplier": 1,
        # A lost connection ends only tasks that are acknowledged late: none here. (False makes Celery warn.)
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        # Prefetching is off, so there is no count to lower after a reconnect.
        "worker_enable_prefetch_count_reduction": False,
        # `spawn`: CUDA does not survive a fork.
        "worker_pool_start_method": "spawn",
        # Celery may neither take over our logging nor print what a task prints: both could carry patient data.
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        # The keeper reads lists and run_at is a column, so eta, rate limits and revokes have no use here.
        "worker_disable_rate_limits": True,
        "enable_utc": True,
    }


def _connection(timeout_s: float) -> dict[str, Any]:
    """Redis may go away for as long as it likes; every wait for it is short, and the worker comes back by itself."""
    return {
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_connection_timeout": timeout_s,
        "broker_channel_error_retry": True,
        "broker_transport_options": {
            "priority_steps": list(PRIORITIES),
            # Without a limit a half-open socket blocks for ever.
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "socket_keepalive": True,
            "health_check_interval": 10,
            # No `unacked` hash: messages are acknowledged on arrival, and the two round trips per message were four
            # fifths of the cost of receiving one (470 µs of processor time with it, 90 µs without).
            "ack_emulation": False,
            # What waits in the most urgent list goes first, whichever queue.
            "queue_order_strategy": "priority",
        },
    }
