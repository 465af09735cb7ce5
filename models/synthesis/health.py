"""What can go wrong in a GAN's training, read from its curves and said in words. Pure functions, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

Points = Sequence[Sequence[float]]
"""(step, value) after each epoch."""

COLLAPSED = 0.5
"""Diversity (models/synthesis/adversarial.py) below which a class has collapsed: half the variance of real images."""

KNOWN_BY_HEART = 0.7
"""AUC by which a discriminator tells its training images from others. With 128 of each, chance alone reaches 0.57."""

UNLEARNT = 0.5
"""Share of the distance between the worst and the best epoch that the last one has lost again."""

SETTLED = 5
"""Epochs before which nothing is called a failure: every GAN begins with none of the variety."""


def findings(curves: Mapping[str, Points], label: str) -> list[str]:
    """What went wrong in the fit `label`, a sentence each; empty where nothing did."""
    return [
        *_collapse(curves.get(f"{label}/diversity", ())),
        *_divergence(curves.get(f"{label}/negative_kid", ())),
        *_memory(curves.get(f"{label}/discriminator_auc", ())),
    ]


def _collapse(points: Points) -> Iterator[str]:
    low = [point for point in points[SETTLED:] if point[1] < COLLAPSED]
    if low:
        now = "and was so at the end" if points[-1][1] < COLLAPSED else "and recovered"
        yield (
            f"Mode collapse: from step {low[0][0]:.0f} on the pictures of a class had {min(p[1] for p in low):.2f} of "
            f"the variance of real ones (less than {COLLAPSED:g}), {now}."
        )


def _divergence(points: Points) -> Iterator[str]:
    if len(points) <= SETTLED:
        return
    values = [point[1] for point in points]
    best, worst = max(values), min(values)
    if best - values[-1] > UNLEARNT * (best - worst) > 0:
        where = points[values.index(best)][0]
        lost = (best - values[-1]) / (best - worst)
        yield (
            f"Divergence: since its best epoch (step {where:.0f}) it has lost {lost:.0%} of "
            "what it had learnt, by the kernel inception distance. The weights of the best epoch are kept."
        )


def _memory(points: Points) -> Iterator[str]:
    high = [point for point in points if point[1] > KNOWN_BY_HEART]
    if high:
        yield (
            f"The discriminator has learnt its training images by heart: from step {high[0][0]:.0f} on it told them "
            f"from others with an AUC of up to {max(p[1] for p in high):.2f} (more than {KNOWN_BY_HEART:g})."
        )
