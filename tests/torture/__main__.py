"""`python -m tests.torture`: torture the stack, print the report, write it as Markdown; 1 where a promise broke.

A run is replayed by its seed: the same orders, the same harm at the same moments (what the scheduler makes of it is its
own). `make torture` and `make soak` call it.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.torture import plain_celery
from tests.torture.mutations import mutate, noticed
from tests.torture.phases import FULL, SLICE, Phase
from tests.torture.report import mutations, table
from tests.torture.runner import Torture, Verdict
from tests.torture.soak import soak


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run; 1 where a promise broke, or a missing guard was not noticed."""
    options = _parser().parse_args(arguments)
    begun, seed = time.monotonic(), options.seed if options.seed is not None else random.randrange(10**6)
    folder = Path(options.folder or tempfile.mkdtemp(prefix="medjobs-torture-"))
    _say(f"seed {seed}; ledgers and logs in {folder}")
    parts, sound = [f"# Torture, seed {seed}\n"], True
    for part, good in _parts(folder, seed, options):
        parts.append(part)
        sound &= good
        text = "\n".join([*parts, f"\n{(time.monotonic() - begun) / 60:.1f} minutes.\n"])
        if options.report:
            options.report.write_text(text)  # as far as it is, for a run that is cut off
    print("\n" + text)
    return 0 if sound else 1


def _parts(folder: Path, seed: int, options: argparse.Namespace) -> Iterator[tuple[str, bool]]:
    """The report's parts, each with whether all was well."""
    for dialect in options.databases:
        if options.soak:
            verdicts, steady = soak(folder / f"soak-{dialect}", dialect, seed, options.soak * 60, _tell)
            yield f"## {options.soak:.0f} minutes on {dialect}\n\n{table(verdicts)}\n\n{steady}\n", _sound(verdicts)
        else:
            verdicts = _faults(folder / dialect, dialect, seed, options)
            yield table(verdicts) + "\n", _sound(verdicts)
    if options.guards:
        found = []
        for guard, good, bad in mutate(folder / "guards", seed, _say):
            found.append((guard, good, bad))
            _say(f"{guard}: {len(good.violations)} violations with it, {len(bad.violations)} without")
        seen = all(noticed(guard, bad) and not good.violations for guard, good, bad in found)
        yield f"## Without the guards\n\n{mutations(found)}\n", seen
        control = plain_celery.run(folder / "plain", seed, _say)
        _tell(control)
        yield f"## Plain Celery in its place\n\n{table([control])}\n", bool(control.lost or control.doubled)


def _sound(verdicts: Sequence[Verdict]) -> bool:
    return not any(one.violations for one in verdicts)


def _faults(folder: Path, dialect: str, seed: int, options: argparse.Namespace) -> list[Verdict]:
    verdicts = []
    phases = [one for one in (SLICE if options.slice else FULL) if dialect in one.dialects and _asked(one, options)]
    with Torture(folder, dialect, seed, _say) as torture:
        for phase in phases:
            verdicts.append(torture.run(phase))
            _tell(verdicts[-1])
    return verdicts


def _asked(phase: Phase, options: argparse.Namespace) -> bool:
    return not options.faults or phase.name in options.faults


def _tell(one: Verdict) -> None:
    worst = f", recovery up to {one.recoveries[-1]:.1f} s" if one.recoveries else ""
    said = (
        f"{one.dialect}: {one.title}: {one.injected} injected, {one.jobs} jobs, {one.lost} lost, {one.doubled} doubled"
    )
    _say(f"{said}, {len(one.violations)} violations{worst} ({one.seconds:.0f} s)")


_say: Callable[[str], None] = lambda text: print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)  # noqa: E731


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--seed", type=int, help="replay a run; by default a new one, which is printed")
    parser.add_argument("--databases", nargs="+", choices=("sqlite", "postgresql"), default=["sqlite", "postgresql"])
    parser.add_argument("--faults", nargs="+", metavar="NAME", choices=sorted({one.name for one in FULL}))
    parser.add_argument("--slice", action="store_true", help="the short form that every run of the tests has")
    parser.add_argument("--guards", action="store_true", help="switch guards off, and try plain Celery, too")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="all faults mixed for so long, memory watched")
    parser.add_argument("--folder", help="where ledgers and logs go; by default a new temporary folder")
    parser.add_argument("--report", type=Path, help="write the report there, as Markdown")
    return parser


if __name__ == "__main__":
    sys.exit(main())
