"""A bidirectional LSTM over the tokens of a SMILES, pooled by attention: the recurrent network of the kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from models.screening.spelling import PADDING


class SmilesLstm(nn.Module):
    """Codes of tokens to one logit (or value) per target.

    Hochreiter and Schmidhuber (Neural Computation 1997), additive attention after Bahdanau et al. (ICLR 2015) as the
    weight of each token in the mean.
    """

    def __init__(self, vocabulary: int, targets: int, layers: int, hidden: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, embedding, padding_idx=PADDING)
        self.lstm = nn.LSTM(
            embedding, hidden, layers, batch_first=True, bidirectional=True, dropout=dropout if layers > 1 else 0.0
        )
        self.attend = nn.Linear(2 * hidden, 1)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(2 * hidden, targets)

    def forward(self, codes: Tensor, lengths: Tensor) -> Tensor:
        """Codes (B, L) and lengths (B,), on the CPU, to (B, targets)."""
        packed = pack_padded_sequence(
            self.drop(self.embed(codes)), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        read, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)  # (B, L, 2 hidden)
        there = torch.arange(read.shape[1], device=read.device) < lengths.to(read.device)[:, None]
        weight = self.attend(read)[..., 0].masked_fill(~there, -torch.inf).softmax(dim=1)  # (B, L)
        pooled = (weight[..., None] * read).sum(dim=1)
        logits: Tensor = self.head(self.drop(pooled))
        return logits


def build(config: Mapping[str, Any]) -> SmilesLstm:
    """The untrained network of a configuration, as a manifest keeps it."""
    return SmilesLstm(**config)
