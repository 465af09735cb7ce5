"""A crowd of callers in a process of its own: `python -m benchmarks.crowd JOB WAITERS STREAMS`, until it is stopped.

Each holds `?wait=30` or reads events, does as Retry-After says, and comes back at once. The server is named by
MEDJOBS_URL and MEDJOBS_TOKEN.
"""

from __future__ import annotations

import os
import sys
import threading
import time

import httpx


def knock(path: str) -> None:
    """Hold one request after the other."""
    headers = {"Authorization": f"Bearer {os.environ['MEDJOBS_TOKEN']}"}
    with httpx.Client(base_url=os.environ["MEDJOBS_URL"], headers=headers, timeout=60) as http:
        while True:
            try:
                with http.stream("GET", path) as answer:
                    for _ in answer.iter_raw():
                        pass
                time.sleep(float(answer.headers.get("retry-after", "0")))
            except httpx.HTTPError:
                time.sleep(0.2)


def main(job_id: str, waiters: int, streams: int) -> None:
    """Start everybody and wait for the end."""
    paths = [f"/v1/jobs/{job_id}?wait=30"] * waiters + [f"/v1/jobs/{job_id}/events"] * streams
    for path in paths:
        threading.Thread(target=knock, args=(path,), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
