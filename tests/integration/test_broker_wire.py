"""Our messages against kombu's own, on a real Redis; what a dead one costs; what Flower would see."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis
from celery import Celery

from broker.app import make_app
from broker.dispatch import Dispatcher
from broker.health import heads, ping
from broker.queues import queue, redis_list, redis_lists
from broker.telling import Teller
from broker.wire import event
from jobs.ids import new_id
from jobs.messages import Message
from jobs.settings import Settings
from tests.services.redis import RedisServer


@pytest.fixture
def settings(redis_server: RedisServer) -> Settings:
    return Settings(redis_url=redis_server.url)


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as opened:
        yield opened


def sent_by_kombu(app: Celery, message: Message, sent_at: float) -> None:
    task = app.amqp.as_task_v2(message.id, f"medjobs.{message.kind}", args=(message.id,), ignore_result=True)
    with app.connection_for_write() as connection:
        app.amqp.send_task_message(
            app.amqp.Producer(connection), f"medjobs.{message.kind}", task, queue=queue(message.pool),
            priority=9 - message.priority, headers={"sent_at": sent_at}, retry=False,
        )  # fmt: skip


def unpacked(raw: bytes) -> dict[str, Any]:
    """A message without what differs from one message to the next."""
    whole: dict[str, Any] = json.loads(raw)
    whole["body"] = json.loads(base64.b64decode(whole["body"]))
    whole["properties"].pop("delivery_tag")
    return whole


@pytest.mark.parametrize("priority", range(10))
def test_our_message_is_the_one_that_kombu_would_send(settings: Settings, client: redis.Redis, priority: int) -> None:
    message = Message(new_id(), "diagnosis", "inference", priority)
    key = redis_list("inference", 9 - priority)
    sent_by_kombu(make_app(settings), message, 1.5)
    theirs = unpacked(client.rpop(key))
    assert Dispatcher(settings).send([message]) == {message.id}
    ours = unpacked(client.rpop(key))
    assert isinstance(ours["headers"].pop("sent_at"), float)
    assert theirs["headers"].pop("sent_at") == 1.5
    assert ours == theirs


def test_celery_receives_what_we_tell_flower(settings: Settings, redis_server: RedisServer) -> None:
    """Given Celery's own event receiver, then a sent job and a failed one appear with name, state and our code."""
    app = make_app(settings)
    state = app.events.State()
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": state.event})
        with receiver.consumer_context() as (reading, _channel, _consumers):
            with suppress(TimeoutError):  # the receiver subscribes when it first reads
                reading.drain_events(timeout=0.3)
            job, other = new_id(), new_id()
            Dispatcher(settings).send(
                [Message(job, "diagnosis", "inference", 5), Message(other, "diagnosis", "long", 5)]
            )
            teller = Teller(settings, "w@host")
            teller.tell([event("task-received", job, "w@host", name="medjobs.diagnosis")])
            teller.tell([event("task-failed", job, "w@host", exception="all-items-failed", traceback="")])
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and not (job in state.tasks and state.tasks[job].state == "FAILURE"):
                reading.drain_events(timeout=5)
    assert state.tasks[job].name == "medjobs.diagnosis"
    assert state.tasks[job].exception == "all-items-failed"
    assert state.tasks[other].state == "PENDING"
    assert state.tasks[other].sent


def test_heads_show_the_oldest_message_of_each_list(settings: Settings, client: redis.Redis) -> None:
    dispatcher = Dispatcher(settings)
    dispatcher.send([Message("old", "k", "inference", 9)])
    time.sleep(0.01)
    dispatcher.send([Message("new", "k", "inference", 9), Message("low", "k", "inference", 0)])
    found = heads(settings, "inference")
    assert [head.waiting for head in found] == [2, *[0] * 8, 1]
    assert found[0].sent_at is not None
    assert found[9].sent_at is not None
    assert found[0].sent_at < found[9].sent_at
    assert found[1].sent_at is None
    assert client.llen(redis_lists("long")[0]) == 0
    assert ping(settings)


def test_a_dead_redis_costs_a_submit_nothing_after_the_first(settings: Settings, redis_server: RedisServer) -> None:
    dispatcher = Dispatcher(settings)
    redis_server.kill()
    message = Message(new_id(), "k", "inference", 5)
    begun = time.monotonic()
    assert dispatcher.send([message]) == set()
    assert time.monotonic() - begun < 1.5
    redis_server.start()
    begun = time.monotonic()
    assert dispatcher.send([message]) == set()  # within the pause nothing is tried
    assert time.monotonic() - begun < 0.05


def test_a_frozen_redis_holds_a_submit_for_a_second_at_most(redis_server: RedisServer) -> None:
    settings = Settings(redis_url=redis_server.url, publish_pause_s=0.2)
    dispatcher = Dispatcher(settings)
    dispatcher.send([Message(new_id(), "k", "inference", 5)])
    redis_server.pause()
    begun = time.monotonic()
    assert dispatcher.send([Message(new_id(), "k", "inference", 5)] * 1000) == set()
    took = time.monotonic() - begun
    redis_server.resume()
    assert took < 1.5
    time.sleep(0.3)
    assert len(dispatcher.send([Message("after", "k", "inference", 5)])) == 1


def test_a_full_redis_takes_none_and_says_so(client: redis.Redis, settings: Settings) -> None:
    client.config_set("maxmemory", "1")
    assert Dispatcher(settings).send([Message(new_id(), "k", "inference", 5)]) == set()


def test_every_decided_setting_is_in_force(settings: Settings) -> None:
    conf = make_app(settings).conf
    assert conf.task_acks_late is False
    assert conf.task_ignore_result is True
    assert conf.result_backend is None
    assert conf.accept_content == ["json"]
    assert conf.worker_disable_prefetch is True
    assert conf.worker_send_task_events is True
    assert conf.task_send_sent_event is True
    assert conf.broker_connection_max_retries is None
    assert conf.worker_pool_start_method == "spawn"
    options = conf.broker_transport_options
    assert options["priority_steps"] == list(range(10))
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (2.0, 2.0)
    assert options["socket_keepalive"]
    assert options["health_check_interval"]
