"""Soft targets: the teacher's class distribution at a temperature (Hinton, Vinyals & Dean, 2015)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from limbeck.losses.divergence import forward_kl
from limbeck.methods.response import Softened
from limbeck.types import Batch


class KD(Softened):
    """Match the teacher's softened class distribution, on labelled and unlabelled samples alike.

    The forward KL divergence: the student must cover everything the teacher believes in. The plain choice, hard
    to beat when its temperature and weight are tuned; add ``ce`` where there are labels.

    Helps:
        Nearly always a little, most of all with many unlabelled samples; little where the teacher is
        hardly better than the student.

    Costs:
        Nothing but a pass over the logits. Stored answers serve.

    References:
        Hinton, Vinyals & Dean, `Distilling the Knowledge in a Neural Network
        <https://arxiv.org/abs/1503.02531>`_, 2015.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1503.02531"

    kind: Literal["kd"] = "kd"

    def values(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return forward_kl(student, teacher, temperature=self.temperature)
