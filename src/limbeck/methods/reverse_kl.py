"""Reverse KL: the student may leave out what it cannot cover (Gu et al., 2024)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from limbeck.losses.divergence import reverse_kl
from limbeck.methods.response import Softened
from limbeck.types import Batch


class ReverseKL(Softened):
    """Put probability only where the teacher does, at the price of leaving some of it out.

    The mode-seeking divergence: a student that is much too small gets a few classes right rather than all of them a
    little. Published for language models; on classes it often trains more slowly from a random start.

    Helps:
        For students far too small for the teacher, late in training rather than from a random start.

    Costs:
        Nothing but a pass over the logits.

    References:
        Gu, Dong, Wei & Huang, `MiniLLM <https://arxiv.org/abs/2306.08543>`_, 2024, section 2.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2306.08543"

    kind: Literal["reverse-kl"] = "reverse-kl"

    def values(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return reverse_kl(student, teacher, temperature=self.temperature)
