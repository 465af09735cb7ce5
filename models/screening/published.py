"""Source, licence and attribution of the published sets that shipped models are made of, known by their fingerprint."""

from __future__ import annotations

from collections.abc import Mapping

_MOLECULENET = "Wu et al., MoleculeNet: a benchmark for molecular machine learning, Chemical Science 9, 513 (2018)"

PUBLISHED: Mapping[str, Mapping[str, str]] = {
    "c64090aafc70c0a45b20efb7e4e1c073de2557010c1aa16d18e475f7e4a2d78c": {
        "source": "BBBP: drugs and drug-like molecules that pass the blood-brain barrier or do not, as MoleculeNet and "
        "DeepChem distribute them",
        "license": "journal supplement without a licence of its own; only figures, fitted weights and folded "
        "fingerprints are given here",
        "attribution": "Martins et al., A Bayesian approach to in silico blood-brain barrier penetration modeling, "
        f"J. Chem. Inf. Model. 52, 1686 (2012); {_MOLECULENET}",
    },
    "68e7ff6ab50350843e1e6f0fb17f38ca940aa716f090278e0da13e5f6f0fca7f": {
        "source": "Tox21 Data Challenge 2014: twelve assays of nuclear receptors and stress response, as MoleculeNet "
        "and DeepChem distribute them",
        "license": "work of the United States government (NIH, EPA, FDA)",
        "attribution": "Huang et al., Tox21Challenge to build predictive models of nuclear receptor and stress "
        f"response pathways, Front. Environ. Sci. 3, 85 (2016); {_MOLECULENET}",
    },
}
"""By fingerprint, as the format `molecules` reads them split by scaffold."""
