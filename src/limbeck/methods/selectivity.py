"""Neuron selectivity: the same patterns over the picture, in whatever channel (Huang & Wang, 2017)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from limbeck.losses.channels import selectivity_mmd
from limbeck.methods.connectors import as_square
from limbeck.methods.pairs import Compared, Pairs


class Selectivity(Compared):
    """Have channels that pick out the same places of the picture as the teacher's, in any order.

    Nothing is trained beside the student. Costs the square of the channels times the pixels. The usual weight is 50.

    Helps:
        Between convolutional nets of unlike widths.

    Costs:
        The square of the channels times the pixels in each pair; no parameters. The teacher runs along,
        unless its layers are stored (``teacher.keep_taps``).

    References:
        Huang & Wang, `Like What You Like <https://arxiv.org/abs/1707.01219>`_, 2017.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1707.01219"

    kind: Literal["selectivity"] = "selectivity"

    pairs: Pairs = "last"
    """Which layers are compared: ``last``, ``stages``, ``penultimate``, or a list of {student, teacher}."""

    def values(self, student: Tensor, teacher: Tensor) -> Tensor:
        return selectivity_mmd(as_square(student), as_square(teacher))
