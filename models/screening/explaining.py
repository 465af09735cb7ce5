"""What each atom adds: the change of a molecule's log odds, or of its number, when the atom is hidden. Also drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from jobs.results import DISCLAIMER
from models.screening.ensemble import Ensemble
from models.screening.molecules import Molecule

Floats = NDArray[np.float64]

WIDTH, HEIGHT = 420, 320
FOR, AGAINST = (0.85, 0.33, 0.31), (0.26, 0.53, 0.84)
"""Red and blue: what raises the answer, and what lowers it."""

LEAST = 0.1
"""Weights below this share of the largest stay without colour."""


def atom_weights(ensemble: Ensemble, molecule: Molecule, column: int | None) -> Floats:
    """(A,) for each atom the log odds of the molecule less those with the atom made a dummy atom, its bonds kept; of a
    number the number, in the target's unit.

    `column`: the target, None for the mean over all. One spelling each: all hidden forms go through the model at once.
    """
    shown = [molecule, *(_hidden(molecule, place) for place in range(molecule.mol.GetNumAtoms()))]
    margin = ensemble.outcome.margin(ensemble.answer(shown, views=1).value)
    chosen: Floats = margin.mean(axis=1) if column is None else margin[:, column]
    weights: Floats = chosen[0] - chosen[1:]
    return weights


def _hidden(molecule: Molecule, place: int) -> Molecule:
    """The molecule with one atom as a dummy; aromatic systems stay aromatic, so that nothing else changes."""
    edited = Chem.RWMol(molecule.mol)
    atom = edited.GetAtomWithIdx(place)
    atom.SetAtomicNum(0)
    atom.SetFormalCharge(0)
    atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    atom.SetNumExplicitHs(0)
    atom.SetNoImplicit(True)
    mol = edited.GetMol()
    Chem.SanitizeMol(mol, Chem.SANITIZE_ALL ^ Chem.SANITIZE_KEKULIZE ^ Chem.SANITIZE_SETAROMATICITY, catchErrors=True)
    return Molecule(Chem.MolToSmiles(mol), mol)


def drawn(molecule: Molecule, weights: Floats | None, title: str) -> bytes:
    """The molecule as SVG, each atom coloured by its weight where there are weights."""
    canvas = rdMolDraw2D.MolDraw2DSVG(WIDTH, HEIGHT)
    options: Any = canvas.drawOptions()
    options.legendFontSize = 15
    colours, radii = {}, {}
    largest = 0.0 if weights is None else float(np.abs(weights).max(initial=0.0))
    if weights is not None and largest > 0:
        for place, weight in enumerate(weights.tolist()):
            share = abs(weight) / largest
            if share >= LEAST:
                colours[place] = _tint(FOR if weight > 0 else AGAINST, share)
                radii[place] = 0.25 + 0.2 * share
    rdMolDraw2D.PrepareAndDrawMolecule(
        canvas, molecule.mol, legend=f"{title}. {DISCLAIMER}", highlightAtoms=list(colours),
        highlightAtomColors=colours, highlightAtomRadii=radii, highlightBonds=[],
    )  # fmt: skip
    canvas.FinishDrawing()
    return str(canvas.GetDrawingText()).encode()


def _tint(colour: tuple[float, float, float], share: float) -> tuple[float, float, float]:
    """The colour, paler the smaller its share of the largest weight."""
    red, green, blue = (1 - (1 - part) * (0.2 + 0.8 * share) for part in colour)
    return red, green, blue
