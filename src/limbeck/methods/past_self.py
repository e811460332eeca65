"""Labels softened by what the student believed the last time (Kim et al., 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.losses.classification import cross_entropy
from limbeck.losses.probability import log_probs
from limbeck.losses.targets import blended_targets
from limbeck.methods.base import Method, Reads, Traced
from limbeck.methods.states import kept, last_of_each
from limbeck.types import Batch, Outputs, Term, Terms


class PastSelf(Method):
    r"""Fit labels mixed with the student's own answer to the sample the last time it saw it (PS-KD).

    .. math:: CE(q, (1 - s_k)\, y + s_k\, p^{past}), \quad s_k = s \, k / K

    at step :math:`k` of :math:`K`; see :func:`~limbeck.losses.targets.blended_targets`. It takes the place of ``ce``.
    The last answers are kept by sample, 4 bytes a class; a sample that has not been seen uses its label alone. The
    paper raises the share, and renews the answers, once an epoch.

    Helps:
        Without a teacher, where samples come up many times in a training.

    Costs:
        The last answer to every training sample in memory and in the checkpoint; no further pass.

    References:
        Kim, Ji, Yoon & Hwang, `Self-Knowledge Distillation with Progressive Refinement of Targets
        <https://arxiv.org/abs/2006.12000>`_, 2021, section 3.
    """

    family: ClassVar[str] = "self"
    paper: ClassVar[str] = "https://arxiv.org/abs/2006.12000"

    kind: Literal["past-self"] = "past-self"
    share: Annotated[float, Field(gt=0, le=1)] = 0.8
    """What the past makes of a target at the end of the training; it grows in a line from 0."""

    @property
    def reads(self) -> Reads:
        return Reads(teacher=False, labels="some")

    def init(self, traced: Traced) -> nn.Module:
        """An empty bank.

        Raises:
            MethodError: If the training does not know its samples.
        """
        if traced.pool is None:
            raise MethodError(
                "PastSelf keeps an answer for each sample, and this loop does not say which samples there are. Train "
                "with limbeck.training.train, or take ema, which keeps none."
            )
        return _Bank(traced.pool.ids, traced.student.logits.shape[1], steps=traced.steps)

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return {"past-self": batch.labelled.float()}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        bank = kept(self, state, _Bank)
        rows = bank.rows(batch.ids)
        past = bank.probabilities.index_select(0, rows)
        mixed = blended_targets(batch.labels, past, share=self.share * int(bank.step) / bank.steps)
        unmixed = blended_targets(batch.labels, past, share=0.0)
        targets = torch.where(past.any(-1, keepdim=True), mixed, unmixed)
        bank.write(rows, log_probs(student.logits.detach()).exp())
        values = cross_entropy(student.logits, targets)
        return {"past-self": Term(values, batch.labelled.to(values.dtype), scale=self.weight)}

    def advance(self, student: nn.Module, state: nn.Module | None) -> None:
        kept(self, state, _Bank).step += 1


class _Bank(nn.Module):
    """The last probabilities of each sample, zeros where there are none yet, and the number of updates."""

    ids: Tensor
    probabilities: Tensor
    step: Tensor

    def __init__(self, ids: Int[Tensor, " samples"], classes: int, *, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("ids", ids.sort().values)
        self.register_buffer("probabilities", torch.zeros(len(ids), classes))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def rows(self, ids: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Where the samples stand.

        Raises:
            MethodError: If one is not of the training.
        """
        rows = torch.searchsorted(self.ids, ids).clamp(max=len(self.ids) - 1)
        unknown = self.ids[rows] != ids
        if unknown.any():
            raise MethodError(
                f"PastSelf keeps answers for the {len(self.ids)} samples that the training started with, and the "
                f"sample {int(ids[unknown][0])} is none of them. Give every batch from the same pool."
            )
        return rows

    def write(self, rows: Tensor, probabilities: Tensor) -> None:
        """Replace what is kept of some samples."""
        last = last_of_each(rows)
        self.probabilities.index_copy_(0, rows[last], probabilities[last].to(self.probabilities.dtype))
