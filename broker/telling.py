"""Tells Flower what becomes of a job: Celery events, several in one message, never in the way of the job."""

from __future__ import annotations

import time
from collections.abc import Sequence

from broker.connection import UNREACHABLE, connect, database
from broker.wire import EVENTS_TOPIC, Event, events_message
from jobs.settings import Settings


class Teller:
    """Publishes events under one node name. With Redis away they are dropped: Flower is a window, not a record."""

    def __init__(self, settings: Settings, hostname: str) -> None:
        """`hostname` is the Celery node name, such as `inference-0@gpu1`."""
        self.hostname = hostname
        self._client = connect(settings.redis, settings.publish_timeout_s)
        self._topic = EVENTS_TOPIC.format(db=database(settings.redis))
        self._pause_s = settings.publish_pause_s
        self._silent_until = 0.0

    def tell(self, events: Sequence[Event]) -> None:
        """Publish the events; never raises."""
        if not events or time.monotonic() < self._silent_until:
            return
        try:
            self._client.publish(self._topic, events_message(events, self.hostname))
        except UNREACHABLE:
            self._silent_until = time.monotonic() + self._pause_s

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
