"""The words of a prediction model's card that follow from its data set alone. A shipped model says more of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def words(unit: str, outcome: str, groups: Sequence[str], course: str | None, since: str | None) -> Mapping[str, str]:
    """Return the manifest's `card`: what training knows, and plainly what it does not.

    `since`: from what moment on the figures of a time to an event look ahead.
    """
    looked = f"Figures by {', '.join(sorted(groups))} are below." if groups else "No subgroup is in the data set."
    aside = (
        f" The next {course} is a guess from how it went so far; nobody's treatment is known to it." if course else ""
    )
    spread = (
        ""
        if since
        else " It abstains where the members disagree by more than on 99 in 100 of the patients they were fitted on; "
        "new patients, known to no member, may lie above that limit more rarely or more often."
    )
    ahead = f" Its figures look ahead from {since}." if since else ""
    return {
        "intended_use": f"Research: the risk of {outcome} from measurements over time (in {unit}).{ahead}",
        "out_of_scope": "Any clinical decision; patients of another sort or another place than those of the data set.",
        "population": "The subjects of the data set below, and nobody else.",
        "known_risks": "What was measured, and how often, speaks of the staff's worry too: where habits of measuring "
        f"differ, the risk differs.{aside}",
        "bias": looked,
        "human_oversight": f"Where the model abstains, and wherever it matters, a clinician judges.{spread}",
    }
