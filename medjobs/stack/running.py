"""A stack for as long as a `with` block lasts, looked after by a thread: what the demo runs on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from jobs.settings import Settings
from medjobs.stack.embedded import Options, Stack


@contextmanager
def running(
    home: Path,
    inference: tuple[str, ...],
    extra: Mapping[str, str],
    say: Callable[[str], None],
    report: Callable[[str], None] = lambda _: None,
) -> Iterator[Stack]:
    """Start a stack on free ports and the embedded defaults alone, whatever MEDJOBS_* says; end it in any case.

    `extra` are MEDJOBS_* variables of this stack.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MEDJOBS_")}
    environment = {**inherited, **extra, "MEDJOBS_HOME": str(home)}
    options = Options(port=0, flower_port=0, inference=inference, environment=environment)
    stack = Stack(Settings.from_environment(environment), options, say)
    stack.start(report)
    ended = threading.Event()

    def tend() -> None:
        while not ended.wait(0.1):
            stack.tend()

    keeper = threading.Thread(target=tend, name="tend", daemon=True)
    keeper.start()
    try:
        yield stack
    finally:
        ended.set()
        keeper.join(10)
        stack.stop()
