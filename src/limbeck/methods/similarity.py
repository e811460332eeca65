"""Similarities preserved: which samples activate the net alike (Tung & Mori, 2019)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from limbeck.losses.similarity import similarity_preserving
from limbeck.methods.pairs import Coupled, Pairs


class Similarity(Coupled):
    """Find the same samples of a batch alike as the teacher does, by their whole activations.

    Nothing is trained beside the student. Its values are small because each row of similarities has length one; the
    published weight is 3000.

    Helps:
        Where widths differ and batches hold several samples of each class.

    Costs:
        Products between the samples of a batch; no parameters. The teacher runs along, unless its layers are
        stored (``teacher.keep_taps``).

    References:
        Tung & Mori, `Similarity-Preserving Knowledge Distillation <https://arxiv.org/abs/1907.09682>`_, 2019.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1907.09682"

    kind: Literal["similarity"] = "similarity"

    pairs: Pairs = "last"
    """Which layers are compared: ``last``, ``stages``, ``penultimate``, or a list of {student, teacher}."""

    def value(self, student: Tensor, teacher: Tensor) -> Tensor:
        return similarity_preserving(student, teacher)
