"""Warm-up of a method's weight, as with decoupled distillation (Zhao et al., 2022)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveInt
from torch import nn

from limbeck.methods.base import Reads, Traced
from limbeck.methods.clock import Clock
from limbeck.methods.states import kept
from limbeck.methods.wrapping import Modifier, own, scaled
from limbeck.types import Batch, Outputs, Terms


class WarmUp(Modifier):
    r"""Let the terms grow in a straight line, so that the first steps belong to the other methods.

    .. math:: w_n = \min(n / N, 1)

    Step n, counted from 1, has n / ``steps`` of the terms, and all of them from step ``steps`` on. The paper warms
    its term up over 20 of 240 epochs.

    Helps:
        Where a method's terms are huge in the first steps, or its connectors have to settle.

    Costs:
        Nothing.

    References:
        Zhao, Cui, Song, Qiu & Liang, `Decoupled Knowledge Distillation <https://arxiv.org/abs/2203.08679>`_,
        2022 (in its implementation).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2203.08679"

    kind: Literal["warm-up"] = "warm-up"

    steps: PositiveInt = 100
    """Steps until the terms have their full size."""

    @property
    def reads(self) -> Reads:
        return self.of.reads  # the terms alone are changed, so few classes do where they do for the terms

    def remembers(self, traced: Traced) -> Clock:
        return Clock()

    def changed(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None
    ) -> Terms:
        step = kept(self, own(state), Clock).step
        return scaled(super().changed(student, teacher, batch, state), min((step + 1) / self.steps, 1.0))
