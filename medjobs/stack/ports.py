"""TCP ports of the stack: is one free, which one is, and who holds it."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from medjobs.failing import Trouble


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    with socket.create_server((host, 0)) as server:
        return int(server.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there; raises `Trouble` where it may not (a privileged port, a foreign host)."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        happened = f"Nothing can listen on {host}:{port}: {os.strerror(error.errno or 0)}."
        raise Trouble(happened, "Choose another with `medjobs up --host 127.0.0.1 --port 8000`.") from error
    return True


def require(host: str, port: int, option: str) -> int:
    """`port`, or a free one for 0; raises `Trouble` naming the holder where the port is taken."""
    if port == 0:
        return free_port(host)
    if not is_free(host, port):
        by = holder(port)
        happened = f"Port {port} is taken{f' by {by}' if by else ''}."
        raise Trouble(happened, f"Choose another with `medjobs up {option} {port + 1}`, or {option} 0 for a free one.")
    return port


def holder(port: int) -> str | None:
    """`pid 123 (python3)` for the process that listens on `port`; None where it cannot be known."""
    import psutil

    try:
        connections: list[Any] = psutil.net_connections("tcp")
        for connection in connections:
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"pid {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass  # Another user's process, or macOS, where only root may ask.
    return None
