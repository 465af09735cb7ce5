"""The report: one line per fault, as Markdown, and what was broken below."""

from __future__ import annotations

from collections.abc import Sequence

from tests.torture.mutations import noticed
from tests.torture.runner import Verdict

HEADER = (
    "| fault | database | injected | jobs | lost | doubled | other | recovery p50 / p99 (s) | messages per job |"
    " attempts per job | seconds |"
)


def table(verdicts: Sequence[Verdict]) -> str:
    """The table, and every violation in words."""
    lines = [HEADER, "|" + "---|" * (HEADER.count("|") - 1), *map(_row, verdicts)]
    broken = [
        f"- {one.phase} on {one.dialect}: {violation.sort}: {violation.key}: {violation.text}"
        for one in verdicts
        for violation in one.violations[:20]
    ]
    notes = [f"- {one.phase} on {one.dialect}: {note}" for one in verdicts for note in one.notes]
    jobs = sum(one.jobs for one in verdicts)
    lost, doubled = sum(one.lost for one in verdicts), sum(one.doubled for one in verdicts)
    violations = sum(len(one.violations) for one in verdicts)
    total = f"{jobs} jobs, {lost} lost, {doubled} committed twice, {violations} violations in all."
    return "\n".join([*lines, "", total, *broken, *notes])


def mutations(found: Sequence[tuple[str, Verdict, Verdict]]) -> str:
    """Each guard: what the judge said with it, and without it."""
    lines = ["| guard | fault | jobs | violations with it | without it | noticed as |", "|---|---|---|---|---|---|"]
    for guard, sound, verdict in found:
        sorts = sorted({violation.sort for violation in verdict.violations})
        said = ", ".join(f"{sort} {verdict.count(sort)}" for sort in sorts)
        said = said if noticed(guard, verdict) else f"**not noticed** {said}"
        cells = (guard, verdict.title, verdict.jobs, len(sound.violations), len(verdict.violations), said)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def percentile(values: Sequence[float], share: float) -> float:
    """Of sorted values, the nearest rank; nan for none."""
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def _row(one: Verdict) -> str:
    recovery = "-"
    if one.recoveries:
        recovery = f"{percentile(one.recoveries, 0.5):.1f} / {percentile(one.recoveries, 0.99):.1f}"
    other = len(one.violations) - sum(violation.sort in ("lost", "doubled") for violation in one.violations)
    cells = (
        one.title, one.dialect, one.injected, one.jobs, one.lost, one.doubled, other, recovery,
        f"{one.messages:.2f}" if one.messages >= 0 else "-", f"{one.attempts:.2f}", f"{one.seconds:.0f}",
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"
