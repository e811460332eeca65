"""Sparse targets: the teacher's likeliest classes, and one bucket for all others."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import PositiveInt
from torch import Tensor

from limbeck.losses.sparse import fewer, top_k_kl, top_k_of
from limbeck.methods.base import Reads
from limbeck.methods.response import Response
from limbeck.types import Batch, Few, Sparse


class TopK(Response):
    """Match the teacher's likeliest classes and the mass of all others together.

    What is left of ``kd`` at a temperature of 1 when only a few classes of each answer are kept. Exact where one
    class is left out; renormalising the kept ones instead would be biased. With ten classes there is nothing to
    save; it is for thousands. A store that keeps ``top-k`` or ``top-k-sampled`` does for it.

    Helps:
        With thousands of classes, where storing all of the teacher's answer is too much.

    Costs:
        Less than ``kd`` where classes are many.

    References:
        Anshumann et al., `Sparse Logit Sampling <https://arxiv.org/abs/2503.16870>`_, 2025.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2503.16870"

    kind: Literal["top-k"] = "top-k"

    k: PositiveInt = 5
    """Classes that are kept of each answer; at most all of them."""

    @property
    def reads(self) -> Reads:
        return replace(super().reads, few=Few(likeliest=self.k))

    def values(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return top_k_kl(student, *top_k_of(teacher, min(self.k, teacher.shape[1])))

    def few_values(self, student: Tensor, teacher: Sparse, batch: Batch) -> Tensor:
        log_probs, tail = fewer(teacher.log_probs, teacher.tail, self.k)
        return top_k_kl(student, teacher.classes[:, : self.k], log_probs, tail=tail)
