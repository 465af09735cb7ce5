"""The words of a screening model's card that follow from its data set alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def words(targets: Sequence[str], handled: Mapping[str, int], numbers: bool) -> Mapping[str, str]:
    """Return the manifest's `card`: what training knows, and plainly what it does not."""
    what = targets[0] if len(targets) == 1 else f"{len(targets)} targets ({', '.join(targets)})"
    ranked = "the estimated" if numbers else "the probability of"
    settled = "mean counts" if numbers else "label counts as not measured"
    return {
        "intended_use": f"Research: ranking molecules by {ranked} {what}, to choose what to measure first.",
        "out_of_scope": "Any decision on a drug without a measurement; molecules unlike those of the data set, which "
        "the table marks; mixtures, polymers and biologicals.",
        "population": "The molecules of the data set below. Salts are stripped to the largest fragment, tautomers are "
        f"left as they were written. In training and validation {handled['copies_folded']} copies were folded into one "
        f"molecule each; on {handled['molecules_with_contradictory_labels']} molecules copies disagree, and there the "
        f"{settled}. The test part stands as the data set has it.",
        "known_risks": "Molecules of one series resemble each other: the figures hold for scaffolds as new as those of "
        "the test part. Atom contributions are what the model leans on, not what causes the activity. The version "
        "holds the folded fingerprints of its training molecules.",
        "bias": "What was measured is what somebody chose to make; nothing is known of the rest of chemistry.",
        "human_oversight": "A chemist reads the list; what is far from the training molecules is a guess.",
    }
