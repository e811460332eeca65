"""Two samples of a class answered alike (Yun et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Int
from pydantic import PositiveFloat
from torch import Tensor, nn

from limbeck.losses.divergence import forward_kl
from limbeck.methods.base import Method, Reads
from limbeck.types import Batch, Outputs, Term, Terms


class ClassPairs(Method):
    """Match the student's own answer to another sample of the same class (CS-KD).

    The other sample is the next one of its class in the batch, after the last the first; its answer gets no gradient.
    A sample without a label, or alone in its class, counts nothing, so that batches should hold several of a class;
    the paper draws a second sample for each instead. Which samples have a partner depends on the whole batch.

    Helps:
        Without any teacher, where classes are fine-grained and batches hold several samples of each.

    Costs:
        Nothing but a pass over the logits: the partner is in the batch already.

    References:
        Yun, Park, Lee & Shin, `Regularizing Class-wise Predictions via Self-knowledge Distillation
        <https://arxiv.org/abs/2003.13964>`_, 2020, section 2.
    """

    family: ClassVar[str] = "self"
    paper: ClassVar[str] = "https://arxiv.org/abs/2003.13964"

    kind: Literal["class-pairs"] = "class-pairs"
    temperature: PositiveFloat = 4.0
    """Softens both answers. The term is multiplied by its square."""

    @property
    def reads(self) -> Reads:
        return Reads(teacher=False, labels="some", coupled=True)

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return {"class-pairs": _alike(batch).any(1).float()}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        alike = _alike(batch)
        partners = student.logits.detach().index_select(0, _next(alike))
        values = forward_kl(student.logits, partners, temperature=self.temperature)
        paired = alike.any(1).to(values.dtype)
        return {"class-pairs": Term(values, paired, scale=self.weight * self.temperature**2)}


def _alike(batch: Batch) -> Bool[Tensor, "batch batch"]:
    """Which two samples are different and have the same label."""
    same = batch.labels[:, None] == batch.labels[None, :]
    return (same & batch.labelled[:, None]).fill_diagonal_(False)


def _next(alike: Bool[Tensor, "batch batch"]) -> Int[Tensor, " batch"]:
    """The first partner after each sample, going round; any sample where there is none."""
    count = len(alike)
    places = torch.arange(count, device=alike.device)
    ahead = (places[None, :] - places[:, None]).remainder(count)
    return ahead.masked_fill(~alike, count).argmin(1)
