"""Make the pictures of Flower in docs/images again: a stack of its own, some jobs, and a headless Chromium.

    python examples/flower_pictures.py [FOLDER]

One job is cancelled by Flower's own button and one fails on a file that is no image.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import httpx
from PIL import Image

from medjobs.client import Client, Job
from medjobs.samples import chest_images
from medjobs.stack.embedded import Stack
from medjobs.stack.running import running

PAGES = {"flower-tasks.png": ("/tasks", "1800,680"), "flower-workers.png": ("/workers", "1500,560")}
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
         "--virtual-time-budget=8000")  # fmt: skip


def work(stack: Stack, password: str) -> None:
    """Jobs of several ends; returns when Flower has seen all of them."""
    images = chest_images()
    with Client(stack.url, stack.home.token.read_text().strip()) as client:
        jobs = [client.submit("diagnosis", image, model="chest-pneumonia") for image in images[:4]]
        jobs.append(client.submit("diagnosis", b"no image at all", model="chest-pneumonia"))
        jobs += [client.submit("diagnosis", *images, model="chest-pneumonia"), cancelled(client, stack, password)]
        for job in jobs:
            job.wait(timeout=120)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        seen = httpx.get(f"{stack.flower_url}/api/tasks", auth=("medjobs", password), timeout=10).json()
        if {"SUCCESS", "FAILURE", "REVOKED"} == {task["state"] for task in seen.values()}:
            return
        time.sleep(0.2)
    raise SystemExit("Flower has not seen a job of each end.")


def cancelled(client: Client, stack: Stack, password: str) -> Job:
    """A job that Flower's button ended while it ran or waited."""
    for _ in range(10):
        job = client.submit("diagnosis", *chest_images(), model="chest-pneumonia")
        while job.state == "queued":
            job.refresh()
        url = f"{stack.flower_url}/api/task/revoke/{job.id}"
        httpx.post(url, auth=("medjobs", password), timeout=10).raise_for_status()
        if job.wait(timeout=60).state == "cancelled":
            return job
    raise SystemExit("Every job was faster than the button.")


def photograph(stack: Stack, password: str, folder: Path) -> None:
    """Each page as a PNG of few colours."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("No Chromium: apt install chromium")
    folder.mkdir(parents=True, exist_ok=True)
    for name, (page, size) in PAGES.items():
        with tempfile.TemporaryDirectory() as profile:
            url = stack.flower_url.replace("http://", f"http://medjobs:{password}@") + page
            target = folder / name
            options = [f"--user-data-dir={profile}", f"--window-size={size}", f"--screenshot={target}"]
            subprocess.run([program, *QUIET, *options, url], check=True, capture_output=True, timeout=120)
            with Image.open(target) as picture:
                picture.convert("RGB").quantize(64).save(target, optimize=True)


def main() -> None:
    """Start, work, photograph, stop."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs" / "images").absolute()
    with tempfile.TemporaryDirectory() as home, running(Path(home), ("cpu",), {}, click.echo) as stack:
        password = stack.home.flower_password.read_text().strip()
        work(stack, password)
        photograph(stack, password, folder)


if __name__ == "__main__":
    main()
