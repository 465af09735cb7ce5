"""`python -P -m models.data.child TASK.json`: one validation in a process that may die of it, and alone.

TASK: {"format", "options", "files": [paths], "parent": pid, "memory": bytes}. Beside it the child leaves `item.json`
and the folder `files`, or `refused.json`, or `crashed.json`; or it is killed and leaves nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_MOST_FILE = 64 << 30


def main(path: Path) -> None:
    """Do the task and leave its outcome beside it."""
    task = json.loads(path.read_text())
    confine(task["parent"], task["memory"])
    # Imported under the limits.
    from jobs.errors import DatasetInvalid
    from models.data.validating import validate

    folder = path.parent
    try:
        validated = validate(task["format"], task["options"], [Path(file) for file in task["files"]])
        (folder / "files").mkdir()
        for name, content in validated.files.items():
            (folder / "files" / name).write_bytes(content)
        _leave(folder / "item.json", validated.item)
    except DatasetInvalid as error:
        _leave(folder / "refused.json", {"detail": error.detail, "facts": error.facts})
    except MemoryError:
        os.kill(os.getpid(), signal.SIGKILL)  # The same end as where a library gives up by itself.
    except BaseException as error:  # A panic of polars is no Exception.
        # Texts of strangers' exceptions may repeat cells; type and line are enough to find the defect.
        last = traceback.extract_tb(error.__traceback__)[-1]
        _leave(
            folder / "crashed.json", {"error": f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"}
        )


def confine(parent: int, memory: int) -> None:
    """Die with the parent, or before it if memory ends; stay below `memory` bytes of address space; write no core."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # The parent died before the line above.
    for limit, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, _MOST_FILE), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (most, most))
    os.nice(10)
    with contextlib.suppress(OSError):
        # Where a container is smaller than the machine, the kernel ends a process: this one, not the worker.
        Path("/proc/self/oom_score_adj").write_text("1000")


def _leave(path: Path, content: dict[str, Any]) -> None:
    """Write whole or not at all."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(content, allow_nan=False))
    draft.replace(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
