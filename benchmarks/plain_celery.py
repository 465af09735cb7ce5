"""Plain Celery for comparison: a task that does nothing, a threads pool, a Redis result per task.

`python -m benchmarks.plain_celery REDIS_URL` is the worker; `rate` is the other side. Results are kept, because a
caller of plain Celery learns in no other way that a task has ended.
"""

from __future__ import annotations

import subprocess
import sys
import time

from celery import Celery


def make_app(url: str) -> Celery:
    """An application with Celery's defaults, but for the URL."""
    app = Celery("plain", broker=url, backend=url)
    app.task(name="noop")(noop)
    return app


def noop(job_id: str) -> None:
    """Do nothing."""


def rate(url: str, count: int, threads: int) -> float:
    """Tasks per second from the first `delay` to the last result, `count` tasks, one worker of `threads` threads."""
    command = [sys.executable, "-m", "benchmarks.plain_celery", url, str(threads)]
    worker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        app = make_app(url)
        task = app.tasks["noop"]
        task.delay("warm-up").get(timeout=60)
        start = time.perf_counter()
        results = [task.delay(str(number)) for number in range(count)]
        for result in results:
            result.get(timeout=300)
        return count / (time.perf_counter() - start)
    finally:
        worker.terminate()
        worker.wait()


if __name__ == "__main__":
    make_app(sys.argv[1]).worker_main(["worker", "--pool=threads", f"--concurrency={sys.argv[2]}", "--loglevel=ERROR"])
