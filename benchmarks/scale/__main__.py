"""`python -m benchmarks.scale PART`: how far the system goes, and where its first wall is."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.scale import crowd, fill, fleet, rows
from benchmarks.scale.server import serving

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)


def main() -> None:
    """Parse the arguments and run one part."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the databases lie and stay")
    parts = parser.add_subparsers(dest="part", required=True)
    filling = parts.add_parser("fill", help="fill the databases")
    filling.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="ended jobs (default %(default)s)")
    filling.add_argument("--most", type=int, help="jobs to add now; call again for the rest")
    growing = parts.add_parser("rows", help="latencies as the table grows")
    growing.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="ended jobs (default %(default)s)")
    growing.add_argument("--rounds", type=int, default=300, help="calls of each sort (default %(default)s)")
    growing.add_argument("--only", default="", help="calls whose name holds this")
    sleeping = parts.add_parser("fleet", help="throughput of worker processes whose model sleeps")
    sleeping.add_argument("--workers", type=int, nargs="+", default=(1, 2, 4, 8), help="default %(default)s")
    sleeping.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    sleeping.add_argument("--seconds", type=float, default=30.0, help="of each measurement (default %(default)s)")
    many = parts.add_parser("crowd", help="many workers without torch, and the loss of all messages")
    many.add_argument("--workers", type=int, nargs="+", default=(1, 4, 16, 32, 64), help="default %(default)s")
    many.add_argument("--seconds", type=float, default=30.0, help="of each measurement (default %(default)s)")
    many.add_argument("--queued", type=int, default=100_000, help="jobs that wait (default %(default)s)")
    chosen = parser.parse_args()
    if chosen.part == "fill":
        with serving(chosen.folder, filling=True) as server:
            missing = sum(fill.fill(server, size, chosen.most) for size in chosen.sizes)
        raise SystemExit(1 if missing else 0)
    if chosen.part == "rows":
        with serving(chosen.folder) as server:
            urls = {size: server.url(fill.name(size)) for size in chosen.sizes}
            print(rows.table(rows.measure(urls, chosen.rounds, chosen.only)))
    if chosen.part == "fleet":
        print(fleet.measure(chosen.folder, tuple(chosen.workers), chosen.rounds, chosen.seconds))
    if chosen.part == "crowd":
        print(crowd.measure(chosen.folder, tuple(chosen.workers), chosen.seconds, chosen.queued))


if __name__ == "__main__":
    main()
