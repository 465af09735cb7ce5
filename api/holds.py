"""How many requests may be held open at once: waits and streams together take at most half of the threads."""

from __future__ import annotations

import threading


class Holds:
    """A counter with a limit that nobody waits for."""

    def __init__(self, limit: int) -> None:
        """`limit`: requests held at once."""
        self.limit = limit
        self.taken = 0
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take a place; False where there is none."""
        with self._lock:
            if self.taken >= self.limit:
                return False
            self.taken += 1
            return True

    def give_back(self) -> None:
        """Free a place."""
        with self._lock:
            self.taken -= 1
