"""Adaptive KL: forward where the teacher is sure, reverse for its tail (Wu et al., 2025)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from limbeck.losses.divergence import adaptive_kl
from limbeck.methods.response import Softened
from limbeck.types import Batch


class AdaptiveKL(Softened):
    """Weigh forward and reverse KL by where the two sides differ: on the teacher's likely classes or on its tail.

    Published for language models, where forward KL learns the head first and reverse KL the tail. Sorts the
    classes once an example.

    Helps:
        Where the student is too small for the whole distribution and the teacher has many classes; with
        ten classes it is close to ``kd``.

    Costs:
        One sort of the classes an example.

    References:
        Wu, Tao, Wang, Yang, Zhao & Wong, `Rethinking Kullback-Leibler Divergence in Knowledge Distillation
        for Large Language Models <https://arxiv.org/abs/2404.02657>`_, 2025.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2404.02657"

    kind: Literal["adaptive-kl"] = "adaptive-kl"

    head_mass: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Probability of the teacher that counts as its head."""

    def values(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return adaptive_kl(student, teacher, head_mass=self.head_mass, temperature=self.temperature)
