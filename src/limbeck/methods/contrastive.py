"""Contrast in a batch: tell a sample's teacher features from those of the others (Tian et al., 2020)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import nn

from limbeck.losses.contrastive import in_batch_contrastive
from limbeck.methods.embedded import Embedded
from limbeck.types import Batch, Outputs, Term, Terms


class Contrastive(Embedded):
    """Recognise each sample's teacher features among those of the batch, and the other way round.

    Both sides are mapped to vectors of one width by trained maps, which are dropped at the end. The other samples
    of the batch are what a sample is told from, so a larger batch is a harder and better task;
    ``contrastive-bank`` takes them from all samples.

    Helps:
        For features that are used later on, such as embeddings, with large batches.

    Costs:
        Two trained maps, dropped at the end. The teacher runs along, unless its layers are stored
        (``teacher.keep_taps``).

    References:
        Tian, Krishnan & Isola, `Contrastive Representation Distillation <https://arxiv.org/abs/1910.10699>`_,
        2020.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1910.10699"

    kind: Literal["contrastive"] = "contrastive"

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        ours, theirs = self.embedded(student, teacher, state)
        there = in_batch_contrastive(ours, theirs, temperature=self.temperature)
        back = in_batch_contrastive(theirs, ours, temperature=self.temperature)
        values = (there + back) / 2
        return {self.kind: Term(values, torch.ones_like(values), scale=self.weight)}
