"""A bidirectional LSTM over the tokens of a SMILES, pooled by attention: the recurrent network of the kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.screening.spelling import PADDING


class SmilesLstm(nn.Module):
    """Codes of tokens to one logit (or value) per target.

    Hochreiter and Schmidhuber (Neural Computation 1997), additive attention after Bahdanau et al. (ICLR 2015) as the
    weight of each token in the mean.
    """

    def __init__(self, vocabulary: int, targets: int, layers: int, hidden: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, embedding, padding_idx=PADDING)
        widths = [embedding, *[2 * hidden] * (layers - 1)]
        self.onward = nn.ModuleList(nn.LSTM(width, hidden, batch_first=True) for width in widths)
        self.backward = nn.ModuleList(nn.LSTM(width, hidden, batch_first=True) for width in widths)
        self.attend = nn.Linear(2 * hidden, 1)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(2 * hidden, targets)

    def forward(self, codes: Tensor, lengths: Tensor) -> Tensor:
        """Codes (B, L) and lengths (B,) to (B, targets)."""
        place = torch.arange(codes.shape[1], device=codes.device)
        there = place < lengths.to(codes.device)[:, None]  # (B, L)
        # Turned within its length, so that padding comes after the end in both directions and is never read. Packed
        # sequences are the same, and on a CPU take half as long again.
        turned = torch.where(there, lengths.to(codes.device)[:, None] - 1 - place, place)[..., None]
        read = self.embed(codes)
        for onward, backward in zip(self.onward, self.backward, strict=True):
            read = self.drop(read)
            ahead, back = onward(read)[0], backward(_turned(read, turned))[0]
            read = torch.cat([ahead, _turned(back, turned)], dim=2)  # (B, L, 2 hidden)
        weight = self.attend(read)[..., 0].masked_fill(~there, -torch.inf).softmax(dim=1)  # (B, L)
        pooled = (weight[..., None] * read).sum(dim=1)
        logits: Tensor = self.head(self.drop(pooled))
        return logits


def _turned(sequence: Tensor, places: Tensor) -> Tensor:
    """(B, L, F) in the order of `places` (B, L, 1)."""
    return sequence.gather(1, places.expand_as(sequence))


def build(config: Mapping[str, Any]) -> SmilesLstm:
    """The untrained network of a configuration, as a manifest keeps it."""
    return SmilesLstm(**config)
