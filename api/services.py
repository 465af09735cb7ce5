"""What a request needs of the process it runs in, made once by `create_app`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import current_app

from api.auth import Authenticator
from api.cursors import Cursors
from api.holds import Holds
from api.metrics import Metrics
from api.outgoing import Outgoing
from api.poller import Poller
from db.engine import Database
from jobs.settings import Settings
from registry.placing import Placing
from registry.versions import Registry
from storage.files import Storage

EXTENSION = "medjobs"


@dataclass(frozen=True)
class Services:
    """One process's connections and threads."""

    settings: Settings
    database: Database
    storage: Storage
    registry: Registry
    placing: Placing
    outgoing: Outgoing
    authenticator: Authenticator
    cursors: Cursors
    poller: Poller
    holds: Holds
    metrics: Metrics

    def close(self) -> None:
        """Let held requests go, send what is waiting, close the connections."""
        self.poller.stop()
        self.outgoing.close()
        self.database.close()


def services() -> Services:
    """Those of the app that answers this request."""
    return cast(Services, current_app.extensions[EXTENSION])
