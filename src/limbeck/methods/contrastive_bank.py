"""Contrast with a memory bank: negatives from all samples, not from the batch alone (Tian et al., 2020)."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from limbeck.errors import MethodError
from limbeck.losses.contrastive import bank_contrastive
from limbeck.methods.base import Traced
from limbeck.methods.embedded import Embedded
from limbeck.methods.states import kept
from limbeck.types import Batch, Outputs, Term, Terms


class ContrastiveBank(Embedded):
    """Recognise each sample's teacher features among those of samples drawn from the whole training set.

    A bank holds both sides' vectors of every sample, as moving averages; it takes two times ``width`` numbers a
    sample and is part of the checkpoint. Negatives are drawn evenly; some of them may be of the same class. The
    published weight is 0.8, with 16384 negatives.

    Helps:
        As ``contrastive``, where batches are small.

    Costs:
        Two trained maps, and a bank of two vectors for each training sample in memory and in the checkpoint.
        The teacher runs along, unless its layers are stored (``teacher.keep_taps``).

    References:
        Tian, Krishnan & Isola, `Contrastive Representation Distillation <https://arxiv.org/abs/1910.10699>`_,
        2020, section 3.1. The normalising constants are frozen from the first batch, as in the authors' code.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1910.10699"

    kind: Literal["contrastive-bank"] = "contrastive-bank"

    negatives: PositiveInt = 4096
    """Samples that each one is told from."""

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """How much of a sample's entry is kept when it is seen again."""

    def init(self, traced: Traced) -> nn.Module | None:
        if traced.pool is None:
            raise MethodError(
                "contrastive-bank keeps an entry for every sample and must know them all. Use it in a run, or take "
                "contrastive in a loop of your own."
            )
        maps = super().init(traced)
        return _Bank(maps, traced.pool.ids.sort().values, self.width)

    def embedded(
        self, student: Outputs, teacher: Outputs | None, state: nn.Module | None
    ) -> tuple[Tensor, Tensor]:
        return super().embedded(student, teacher, kept(self, state, _Bank).maps)

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        ours, theirs = (functional.normalize(side) for side in self.embedded(student, teacher, state))
        bank = kept(self, state, _Bank)
        rows = bank.rows(batch.ids)
        drawn = torch.randint(len(bank.ids), (len(rows), self.negatives), device=rows.device)
        there = self._told(ours, bank.teacher, bank, 0, rows, drawn)
        back = self._told(theirs, bank.student, bank, 1, rows, drawn)
        bank.remember(rows, ours, theirs, self.momentum)
        values = there + back
        return {self.kind: Term(values, torch.ones_like(values), scale=self.weight)}

    def _told(
        self, rows: Tensor, bank: Tensor, state: _Bank, side: int, own: Tensor, drawn: Tensor
    ) -> Tensor:
        """Each row told from the drawn entries of the other side's bank."""
        positive = (rows * bank.index_select(0, own)).sum(1)
        entries = bank.index_select(0, drawn.flatten()).view(*drawn.shape, -1)
        negative = torch.einsum("bw,bnw->bn", rows, entries.to(rows.dtype))
        state.freeze(side, torch.cat([positive[:, None], negative], 1).detach() / self.temperature)
        return bank_contrastive(
            positive, negative, bank_examples=len(bank), log_partition=state.log_partition[side],
            temperature=self.temperature,
        )  # fmt: skip


class _Bank(nn.Module):
    """Both sides' vectors of every sample, and the constants of the first batch."""

    ids: Tensor
    student: Tensor
    teacher: Tensor
    log_partition: Tensor
    frozen: Tensor

    def __init__(self, maps: nn.Module | None, ids: Tensor, width: int) -> None:
        super().__init__()
        self.maps = maps
        self.register_buffer("ids", ids)
        for side in ("student", "teacher"):
            self.register_buffer(side, functional.normalize(torch.randn(len(ids), width)))
        self.register_buffer("log_partition", torch.zeros(2))
        self.register_buffer("frozen", torch.zeros(2, dtype=torch.bool))

    def rows(self, ids: Tensor) -> Tensor:
        """Where samples stand in the bank.

        Raises:
            MethodError: If one is not in it.
        """
        places = torch.searchsorted(self.ids, ids).clamp_max(len(self.ids) - 1)
        if not torch.equal(self.ids[places], ids):
            raise MethodError("contrastive-bank met a sample that was not there when its bank was made.")
        return places

    def freeze(self, side: int, scores: Tensor) -> None:
        """Set a side's normalising constant from the first batch's scores: the bank's size times their mean
        exponential.
        """
        if not bool(self.frozen[side]):
            mean = scores.flatten().logsumexp(0) - math.log(scores.numel())
            self.log_partition[side] = mean + math.log(len(self.ids))
            self.frozen[side] = True

    @torch.no_grad()
    def remember(self, rows: Tensor, ours: Tensor, theirs: Tensor, momentum: float) -> None:
        """Move the entries of some samples towards what was just seen."""
        for bank, seen in ((self.student, ours), (self.teacher, theirs)):
            old = bank.index_select(0, rows)
            bank.index_copy_(0, rows, functional.normalize(old.lerp(seen.to(old.dtype), 1 - momentum)))
