"""MEDJOBS_HOME: the one folder that holds an embedded stack, its lock, and the Redis socket that goes with it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from medjobs.failing import Trouble

SOCKET_LIMIT = 107
"""Longest path of a unix socket: `sun_path` holds 108 bytes with its final zero (unix(7)); 104 on macOS."""


@dataclass(frozen=True)
class Home:
    """The paths of one embedded stack."""

    path: Path

    @property
    def logs(self) -> Path:
        """A log file per child process."""
        return self.path / "logs"

    @property
    def url(self) -> Path:
        """Holds the API's address while the stack runs; the commands and the Python client read it."""
        return self.path / "url"

    @property
    def token(self) -> Path:
        """Holds the admin token (mode 0600)."""
        return self.path / "token"

    @property
    def flower_password(self) -> Path:
        """Holds Flower's password (mode 0600); its user is `medjobs`."""
        return self.path / "flower.password"

    @property
    def keeper_turn(self) -> Path:
        """Touched by a keeper whenever it has been through its sweeps (workers/keeper.py)."""
        return self.path / "keeper.turn"

    @property
    def redis_socket(self) -> Path:
        """In the home, or where its path is too long for a socket, in a private folder named after it."""
        inside = self.path / "redis.sock"
        if len(os.fsencode(inside)) <= SOCKET_LIMIT - 4:
            return inside
        name = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"medjobs-{os.getuid()}-{name}" / "redis.sock"

    def prepare(self) -> None:
        """Create the folders, readable by their owner alone; raises `Trouble` where that cannot be."""
        try:
            for folder in (self.path, self.logs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK):
                raise PermissionError(13, "not writable")
        except OSError as error:
            remedy = "Set MEDJOBS_HOME to a folder that you may write to."
            raise Trouble(f"The folder {self.path} cannot be used: {error.strerror}.", remedy) from error
        self._prepare_socket()

    def _prepare_socket(self) -> None:
        folder = self.redis_socket.parent
        if folder == self.path:
            return
        # The folder stands in the shared temporary directory: it must be ours alone, whoever made it first.
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise Trouble(f"The folder {folder} belongs to somebody else.", "Choose a shorter MEDJOBS_HOME.")

    def lock(self) -> int:
        """Take the home for this process; the lock goes with the process, however that ends."""
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = os.read(descriptor, 32).decode(errors="replace").strip()
            os.close(descriptor)
            raise _held(self.path, pid) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        return descriptor


def _held(path: Path, pid: str) -> Trouble:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return Trouble(f"The stack that ran on {path} was killed and is still ending.", "Try again in 20 seconds.")
    except PermissionError:
        pass
    remedy = f"Use it as it is, stop it with `kill {pid}`, or give this one a home of its own: MEDJOBS_HOME=DIR"
    return Trouble(f"A stack already runs on {path} (medjobs up, pid {pid}).", f"{remedy} medjobs up --port 0.")


def write_secret(path: Path, text: str) -> None:
    """Write `text` so that nobody else can read it at any moment, and the file is never half written."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
    fresh.replace(path)
