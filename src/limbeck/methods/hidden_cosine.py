"""Cosine of hidden states: the directions of the teacher's features (Sanh et al., 2019)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from limbeck.losses.hint import cosine_hint
from limbeck.methods.pairs import Connected, Pairs


class HiddenCosine(Connected):
    """Point the student's features, after a trained map, where the teacher's point.

    The third part of DistilBERT's loss, which is 5 ``kd`` at a temperature of 2, 2 ``ce`` and 1 of this. Blind to the
    length of each vector.

    Helps:
        Beside ``kd`` for transformers; where the length of a feature means nothing.

    Costs:
        A trained map for each pair, dropped at the end. The teacher runs along, unless its layers are stored
        (``teacher.keep_taps``).

    References:
        Sanh, Debut, Chaumond & Wolf, `DistilBERT <https://arxiv.org/abs/1910.01108>`_, 2019, section 3.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1910.01108"

    kind: Literal["hidden-cosine"] = "hidden-cosine"

    pairs: Pairs = "last"
    """Which layers are compared: ``last``, ``stages``, ``penultimate``, or a list of {student, teacher}."""

    def values(self, student: Tensor, teacher: Tensor) -> Tensor:
        return cosine_hint(student, teacher)
