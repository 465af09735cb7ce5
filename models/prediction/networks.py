"""The recurrent networks of the prediction kind, readable from top to bottom.

All take a `Batch` (models/prediction/encoding.py): N patients, T bins, V variables, S static values, and return logits.
Values that were not measured are filled inside the networks, so that a gradient with respect to a measured value runs
through every bin in which it is still the last one known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.prediction.encoding import Batch

KNOTS = (-2.5, -1.5, -0.5, 0.5, 1.5)
"""Where the pieces of `pieces` begin, in z-scores: too low and too high are both bad, and a line cannot say so."""

SCALES = 1 + len(KNOTS)


def pieces(value: Tensor) -> Tensor:
    """Return z-scores beside their piecewise linear parts, (..., F) -> (..., F * SCALES), all 0 at z-score 0."""
    parts = [torch.clamp(value - knot, 0, 1) - min(max(-knot, 0.0), 1.0) for knot in KNOTS]
    return torch.cat([value, *parts], dim=-1)


def filled(value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the last value known in each bin (0 where none yet) and the number of bins since the one before.

    Both (N, T, V). The gap of the first bin is 0; it grows from the start where nothing has been measured yet.
    """
    count = value.shape[1]
    steps = torch.arange(count, device=value.device)[None, :, None]
    seen = torch.where(mask > 0, steps, -1).cummax(dim=1).values  # (N, T, V) bin of the last measurement, or -1
    last = torch.where(seen >= 0, value.gather(1, seen.clamp_min(0)), torch.zeros_like(value))
    before = torch.cat([torch.full_like(seen[:, :1], -1), seen[:, :-1]], dim=1)
    return last, (steps - before.clamp_min(0)).to(value.dtype)


class GruD(nn.Module):
    """GRU-D (Che et al., Scientific Reports 8, 6085 (2018)): learned decays of the inputs and of the hidden state.

    Beside the paper: inputs as piecewise linear parts, a first hidden state from the static values, and a readout of
    the last hidden state with the mean and the maximum over time. `bins` is T of training, by which gaps are measured.
    """

    def __init__(
        self, variables: int, statics: int, bins: int, hidden: int, dropout: float = 0.0, input_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.bins, self.hidden = bins, hidden
        self.input_decay = nn.Parameter(torch.zeros(2, variables))  # slope and offset of each variable
        self.hidden_decay = nn.Linear(variables, hidden)
        nn.init.uniform_(self.hidden_decay.weight, 0, 0.02)
        nn.init.zeros_(self.hidden_decay.bias)
        self.inputs = nn.Linear((SCALES + 1) * variables, 3 * hidden)
        self.gates = nn.Linear(hidden, 2 * hidden, bias=False)
        self.candidate = nn.Linear(hidden, hidden, bias=False)
        self.start = nn.Linear((SCALES + 1) * statics, hidden)
        self.readout = nn.Linear(3 * hidden + (SCALES + 1) * statics, 1)
        self.dropout, self.input_dropout = nn.Dropout(dropout), nn.Dropout(input_dropout)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits (N,)."""
        mask, hidden = batch.mask, self.hidden
        last, gap = filled(batch.value, mask)
        gap = gap * (2 / self.bins)
        slope, offset = self.input_decay
        kept = torch.where(mask > 0, last, last * torch.exp(-torch.relu(4 * slope * gap + offset)))  # (N, T, V)
        decay = torch.exp(-torch.relu(self.hidden_decay(gap)))  # (N, T, H)
        drive = self.inputs(self.input_dropout(torch.cat([pieces(kept), mask], dim=2)))  # (N, T, 3 H)
        static = torch.cat([pieces(batch.static), batch.known], dim=1)  # (N, 7 S)
        state = torch.tanh(self.start(static))
        states = []
        for step in range(drive.shape[1]):
            state = state * decay[:, step]
            update, reset = torch.sigmoid(drive[:, step, : 2 * hidden] + self.gates(state)).chunk(2, dim=1)
            fresh = torch.tanh(drive[:, step, 2 * hidden :] + self.candidate(reset * state))
            state = state + update * (fresh - state)
            states.append(state)
        course = torch.stack(states, dim=1)  # (N, T, H)
        summary = torch.cat([state, course.mean(dim=1), course.amax(dim=1)], dim=1)  # (N, 3 H)
        logit: Tensor = self.readout(torch.cat([self.dropout(summary), static], dim=1))
        return logit[:, 0]


class BiLstm(nn.Module):
    """A bidirectional LSTM over [value, mask, time since] of each bin, with the static values in every bin.

    Read out by the mean and the maximum over time and both ends.
    """

    EMBEDDED = 64

    def __init__(
        self, variables: int, statics: int, bins: int, hidden: int, dropout: float = 0.0, input_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.bins = bins
        fixed = (SCALES + 1) * statics
        self.embed = nn.Linear((SCALES + 2) * variables + fixed, self.EMBEDDED)
        self.lstm = nn.LSTM(self.EMBEDDED, hidden, batch_first=True, bidirectional=True)
        self.readout = nn.Linear(6 * hidden + fixed, 1)
        self.dropout, self.input_dropout = nn.Dropout(dropout), nn.Dropout(input_dropout)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits (N,)."""
        mask = batch.mask
        last, gap = filled(batch.value, mask)
        since = torch.log1p(gap * (48 / self.bins)) / 4 * (1 - mask)
        static = torch.cat([pieces(batch.static), batch.known], dim=1)  # (N, 7 S)
        everywhere = static[:, None].expand(-1, last.shape[1], -1)
        inputs = torch.cat([pieces(last), mask, since, everywhere], dim=2)  # (N, T, 8 V + 7 S)
        embedded = self.input_dropout(torch.relu(self.embed(self.input_dropout(inputs))))  # (N, T, 64)
        course, (ends, _) = self.lstm(embedded)  # (N, T, 2 H), (2, N, H)
        summary = torch.cat([course.mean(dim=1), course.amax(dim=1), ends[0], ends[1]], dim=1)  # (N, 6 H)
        logit: Tensor = self.readout(torch.cat([self.dropout(summary), static], dim=1))
        return logit[:, 0]


class LstmBasic(nn.Module):
    """The simple baseline, `lstm-basic`: an LSTM of 64 units, a dense layer of 1, whose sigmoid is the risk.

    It reads the last known values and the static values in each bin, and nothing of what was measured when.
    """

    def __init__(self, variables: int, statics: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(variables + statics, 64, batch_first=True)
        self.dense = nn.Linear(64, 1)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits (N,)."""
        last, _ = filled(batch.value, batch.mask)
        everywhere = batch.static[:, None].expand(-1, last.shape[1], -1)
        course, _ = self.lstm(torch.cat([last, everywhere], dim=2))  # (N, T, 64)
        logit: Tensor = self.dense(course[:, -1])
        return logit[:, 0]


class SurvivalGru(nn.Module):
    """Discrete hazards after each visit: one logit per interval ahead, the same shift for all of a visit's intervals.

    The shift is linear in the last values, what was measured, how long ago, the time of the visit and the static
    values, plus what a GRU over the visits' last values and the static values adds (`hidden` 0: no GRU). That form is
    the logistic twin of a landmark Cox model (van Houwelingen 2007) whose weights all landmarks share.
    """

    def __init__(self, variables: int, statics: int, intervals: int, span: float, hidden: int, dropout: float) -> None:
        super().__init__()
        self.span = span
        self.linear = nn.Linear(3 * variables + 1 + statics, 1, bias=False)
        nn.init.zeros_(self.linear.weight)
        self.hazard = nn.Parameter(torch.full((intervals,), -3.0))
        self.gru = nn.GRU(variables + statics, hidden, batch_first=True) if hidden else None
        self.readout = nn.Linear(hidden, 1, bias=False) if hidden else None
        if self.readout is not None:
            nn.init.zeros_(self.readout.weight)
        self.dropout, self.input_dropout = nn.Dropout(dropout), nn.Dropout(dropout / 2)

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits of the hazards after each visit, (N, T, K); those of padding visits mean nothing."""
        mask = batch.mask
        last, _ = filled(batch.value, mask)
        time = torch.nan_to_num(torch.as_tensor(batch.time, dtype=last.dtype, device=last.device))[:, :, None]
        seen = torch.where(mask > 0, time, torch.zeros_like(mask)).cummax(dim=1).values
        since = torch.log1p((time - seen).clamp_min(0))  # (N, T, V)
        static = batch.static[:, None].expand(-1, last.shape[1], -1)  # (N, T, S)
        shift = self.linear(torch.cat([last, mask, since, time * (2 / self.span), static], dim=2))  # (N, T, 1)
        if self.gru is not None and self.readout is not None:
            course, _ = self.gru(self.input_dropout(torch.cat([last, static], dim=2)))  # (N, T, H)
            shift = shift + self.readout(self.dropout(course))
        logits: Tensor = shift + self.hazard
        return logits


NETWORKS: Mapping[str, Callable[..., nn.Module]] = {
    "gru-d": GruD,
    "bilstm": BiLstm,
    "lstm-basic": LstmBasic,
    "survival-gru": SurvivalGru,
}
"""Architectures by the name that a manifest gives."""


def build(architecture: str, config: Mapping[str, Any]) -> nn.Module:
    """Return an untrained network by its manifest name and configuration."""
    if architecture not in NETWORKS:
        raise ValueError(f"unknown architecture {architecture!r}: choose one of {', '.join(sorted(NETWORKS))}")
    return NETWORKS[architecture](**config)
