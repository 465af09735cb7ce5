"""Source, licence and attribution of the data sets whose published form is a format of its own; for cards."""

from __future__ import annotations

from collections.abc import Mapping

PUBLISHED: Mapping[str, Mapping[str, str]] = {
    "physionet2012": {
        "source": "PhysioNet/CinC Challenge 2012: the first 48 hours of intensive care stays of adults (MIMIC-II, Beth "
        "Israel Deaconess Medical Center, Boston)",
        "license": "Open Data Commons Attribution License 1.0",
        "attribution": "Silva et al., Predicting in-hospital mortality of ICU patients, Computing in Cardiology 39, "
        "245 (2012); Goldberger et al., PhysioNet, Circulation 101, e215 (2000)",
    },
    "pbc2": {
        "source": "Mayo Clinic trial in primary biliary cirrhosis, 1974 to 1984, with its follow-up visits, as in "
        "the R package JM",
        "license": "the table is distributed with GPL packages of R; only figures and fitted weights are given here",
        "attribution": "Murtaugh et al., Primary biliary cirrhosis, Hepatology 20, 126 (1994)",
    },
}
"""By format."""
