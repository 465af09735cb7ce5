"""`python -m workers --pool inference --devices auto`: a supervisor with one inference worker per device, or with one
long worker that holds all GPUs.

`--device cpu` runs one worker in this very process instead.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys

from jobs import logs
from jobs.ids import new_id
from workers.devices import expand, grouped
from workers.exposing import join
from workers.starting import SUPERVISED, clean_path, die_with_parent, read_settings, serve_metrics, set_up_logging


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run; the exit status."""
    options = _parser().parse_args(arguments)
    settings = read_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    os.chdir(settings.home)
    clean_path()
    set_up_logging(settings)
    bind = options.metrics or settings.metrics_bind
    if options.device is None:
        from workers.supervisor import Supervisor

        found = expand(options.devices)
        return Supervisor(settings, options.pool, grouped(found) if options.pool == "long" else found, bind).run()
    die_with_parent()
    join()
    if bind and not os.environ.get(SUPERVISED):
        from workers.metrics import REGISTRY

        serve_metrics(bind, REGISTRY)
    worker_id = options.worker_id or f"{socket.gethostname()}:{options.pool}:{new_id()[-6:]}"
    logs.bind(worker=worker_id)
    if options.pool == "long":
        from workers.long import LongWorker

        return LongWorker(settings, options.device, worker_id).run()
    # Before torch is imported: it reads them once, and would otherwise take every processor for each predict.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(settings.torch_threads)
    from workers.inference import InferenceWorker

    return InferenceWorker(settings, options.device, worker_id).run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers", description="Run jobs of one pool.")
    parser.add_argument("--pool", choices=("inference", "long"), default="inference")
    parser.add_argument("--devices", default="auto", help="auto, cpu, cpu:N or a list such as 0,1 or MIG-...")
    parser.add_argument("--device", help="run one worker in this process, for cpu, cuda:0, MIG-... or cuda:0,cuda:1")
    parser.add_argument("--metrics", help="HOST:PORT for Prometheus; none by default")
    parser.add_argument("--worker-id", help="the name of this start of the worker; the supervisor gives one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
