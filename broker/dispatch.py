"""Sends committed jobs to the workers' queues. A submit never waits for a Redis that is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from broker.connection import UNREACHABLE, connect, database
from broker.queues import redis_list, wire_priority
from broker.wire import EVENTS_TOPIC, events_message, origin, sent_event, task_message
from jobs.messages import Message
from jobs.settings import Settings

log = logging.getLogger("medjobs.broker")


class Dispatcher:
    """Publishes job messages; any number of threads may share one."""

    def __init__(self, settings: Settings) -> None:
        """Opens nothing yet."""
        self._client = connect(settings.redis, settings.publish_timeout_s)
        self._topic = EVENTS_TOPIC.format(db=database(settings.redis))
        self._pause_s = settings.publish_pause_s
        self._silent_until = 0.0

    def send(self, messages: Sequence[Message]) -> set[str]:
        """Publish one message per job in one round trip; the ids that Redis took. Never raises for a dead Redis.

        After a failure nothing is tried for `publish_pause_s`: the rows stand, and the keeper sends them later. What
        was sent twice because an answer was lost does no harm: the second claim finds the job taken.
        """
        if not messages or time.monotonic() < self._silent_until:
            return set()
        try:
            taken = self._publish(messages)
        except UNREACHABLE as error:
            self._silent_until = time.monotonic() + self._pause_s
            log.warning(
                "Redis did not take %d messages (%s); the keeper sends them", len(messages), type(error).__name__
            )
            return set()
        self._silent_until = 0.0
        return taken

    def _publish(self, messages: Sequence[Message]) -> set[str]:
        moment = time.time()
        with self._client.pipeline(transaction=False) as pipe:
            for message in messages:
                key = redis_list(message.pool, wire_priority(message.priority), message.queue)
                pipe.lpush(key, task_message(message, moment))
            pipe.publish(self._topic, events_message([sent_event(one) for one in messages], origin()))
            answers = pipe.execute(raise_on_error=False)
        failed = [answer for answer in answers if isinstance(answer, Exception)]
        if failed:
            # A full Redis with `noeviction` refuses single commands.
            log.warning("Redis refused %d of %d commands (%s)", len(failed), len(answers), type(failed[0]).__name__)
        return {m.id for m, answer in zip(messages, answers, strict=False) if not isinstance(answer, Exception)}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
