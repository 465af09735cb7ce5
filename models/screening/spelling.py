"""SMILES as a network reads them: tokens by regular expression, and the many spellings of one molecule."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

import torch
from rdkit import Chem
from torch import Tensor

from models.screening.molecules import Molecule

TOKENS = re.compile(r"\[[^\]]+\]|Br|Cl|@@|%\d\d|.")
"""After Schwaller et al. (ACS Cent. Sci. 2019): an atom in brackets, a two-letter element or a ring number is one."""

PADDING, UNKNOWN = 0, 1
"""Codes that every vocabulary has."""


def tokens(smiles: str) -> list[str]:
    """The tokens of a SMILES, in order; joined they are the SMILES again."""
    return TOKENS.findall(smiles)


def spelling(molecule: Molecule, seed: int) -> str:
    """A SMILES of the molecule that begins at an atom drawn by `seed` (31 bits) and goes on as that draws."""
    return str(Chem.MolToRandomSmilesVect(molecule.mol, 1, randomSeed=seed)[0])


def view(molecule: Molecule, number: int) -> str:
    """Spelling number `number` of a molecule, the same everywhere: the canonical one is number 0."""
    if number == 0:
        return molecule.canonical
    digest = hashlib.sha256(f"{number}/{molecule.canonical}".encode()).digest()
    return spelling(molecule, int.from_bytes(digest[:4], "big") >> 1)


class Vocabulary:
    """Tokens of the training part, by code; what it does not hold is unknown."""

    def __init__(self, known: Sequence[str]) -> None:
        """`known`: tokens in the order of their codes, which begin at 2."""
        self.known = tuple(known)
        self._codes = {token: code for code, token in enumerate(self.known, start=UNKNOWN + 1)}

    @classmethod
    def of(cls, smiles: Iterable[str]) -> Vocabulary:
        """The tokens that stand there, sorted."""
        return cls(sorted({token for text in smiles for token in tokens(text)}))

    def __len__(self) -> int:
        return UNKNOWN + 1 + len(self.known)

    def encode(self, smiles: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Codes (N, L) int64, padded with 0, and lengths (N,)."""
        coded = [[self._codes.get(token, UNKNOWN) for token in tokens(text)] for text in smiles]
        lengths = torch.tensor([len(one) for one in coded])
        table = torch.zeros(len(coded), int(lengths.max()), dtype=torch.int64)
        for row, one in enumerate(coded):
            table[row, : len(one)] = torch.tensor(one)
        return table, lengths
