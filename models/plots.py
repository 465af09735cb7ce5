"""Two plots of a test part as SVG text, drawn from numbers alone: no library, no script, no font from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SIZE = 220
"""Side of the plotted square in SVG units; axes and titles stand outside it."""

_LEFT, _TOP = 46, 26


def reliability(
    bins: Sequence[Mapping[str, float]], cases: str = "images", title: str = "Reliability on the test part"
) -> str:
    """Return the reliability diagram: predicted against observed share of positives, a dot per bin, area by count.

    `cases`: what is counted.
    """
    most = max(float(one["count"]) for one in bins)
    dots = "".join(
        f'<circle cx="{_x(one["predicted"])}" cy="{_y(one["observed"])}" fill="#2563a8" fill-opacity=".75"'
        f' r="{2.5 + 7 * (one["count"] / most) ** 0.5:.1f}"><title>{int(one["count"])} {cases}</title></circle>'
        for one in bins
    )
    return _frame(title, "predicted probability", "observed share", dots)


def roc(points: Sequence[Sequence[float]], auc: Mapping[str, float]) -> str:
    """Return the ROC curve, [1 - specificity, sensitivity] per point, with its area and interval in the corner."""
    line = " ".join(f"{_x(x)},{_y(y)}" for x, y in points)
    words = f"AUC {auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})"
    drawn = f'<polyline points="{line}" fill="none" stroke="#2563a8" stroke-width="2"/>'
    drawn += f'<text x="{_LEFT + SIZE - 6}" y="{_TOP + SIZE - 8}" text-anchor="end">{words}</text>'
    return _frame("ROC curve on the test part", "1 - specificity", "sensitivity", drawn)


def alone(svg: str) -> bytes:
    """Return a plot as a file: within a page it needs no namespace, by itself nothing shows it without."""
    own = 'xmlns="http://www.w3.org/2000/svg" style="font:11px system-ui,sans-serif"'
    return svg.replace("<svg ", f"<svg {own} ", 1).encode()


def _x(share: float) -> str:
    return f"{_LEFT + SIZE * float(share):.1f}"


def _y(share: float) -> str:
    return f"{_TOP + SIZE * (1 - float(share)):.1f}"


def _frame(title: str, across: str, up: str, drawn: str) -> str:
    """Return the square with its diagonal, ticks at quarters, and titles."""
    width, height = _LEFT + SIZE + 14, _TOP + SIZE + 42
    ticks = "".join(
        f'<text x="{_x(t)}" y="{_TOP + SIZE + 15}" text-anchor="middle">{t:g}</text>'
        f'<text x="{_LEFT - 6}" y="{float(_y(t)) + 4:.1f}" text-anchor="end">{t:g}</text>'
        f'<path d="M{_x(t)} {_y(0)}V{_y(1)}M{_x(0)} {_y(t)}H{_x(1)}" stroke="#e3e7ec"/>'
        for t in (0, 0.25, 0.5, 0.75, 1)
    )
    middle = _TOP + SIZE / 2
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{title}">'
        f'<text x="{_LEFT}" y="15" class="title">{title}</text>{ticks}'
        f'<path d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}" stroke="#98a2b3" stroke-dasharray="4 4"/>{drawn}'
        f'<text x="{_LEFT + SIZE / 2}" y="{height - 8}" text-anchor="middle">{across}</text>'
        f'<text transform="translate(12 {middle}) rotate(-90)" text-anchor="middle">{up}</text></svg>'
    )
