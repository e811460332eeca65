"""A weight that moves over the training: teacher annealing (Clark et al., 2019)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveInt
from torch import nn

from limbeck.methods.base import Reads, Traced
from limbeck.methods.clock import Clock, Shape, moved
from limbeck.methods.states import kept
from limbeck.methods.wrapping import Modifier, own, scaled, whole_training
from limbeck.types import Batch, Outputs, Terms


class Schedule(Modifier):
    r"""Move the weight of the terms over the training, for example from the teacher to the labels.

    .. math:: w_n = w_1 + (w_N - w_1) \, s\!\left(\frac{n - 1}{N - 1}\right), \quad s(x) = x \; \text{or} \;
              \frac{1 - \cos \pi x}{2}

    The first step multiplies them by ``start``, the last by ``final``. The paper moves from the teacher to the labels
    in a straight line: a falling schedule round ``kd``, beside a rising one round ``ce``.

    Helps:
        Where the teacher is worth most at first and labels later, or the other way.

    Costs:
        Nothing.

    References:
        Clark, Luong, Khandelwal, Manning & Le, `BAM! Born-Again Multi-Task Networks for Natural Language
        Understanding <https://arxiv.org/abs/1907.04829>`_, 2019 (teacher annealing).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1907.04829"

    kind: Literal["schedule"] = "schedule"

    start: NonNegativeFloat = 1.0
    """What the terms are multiplied by at the first step."""
    final: NonNegativeFloat = 0.0
    """The same at the last step."""
    shape: Shape = "linear"
    """``linear``, or ``cosine`` for half a cosine, which is slow at both ends."""
    steps: PositiveInt | None = None
    """Steps until ``final`` is reached; null: all of the training."""

    @property
    def reads(self) -> Reads:
        return self.of.reads  # the terms alone are changed, so few classes do where they do for the terms

    def remembers(self, traced: Traced) -> Clock:
        return Clock(self.steps or whole_training(self, traced))

    def changed(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None
    ) -> Terms:
        clock = kept(self, own(state), Clock)
        factor = moved(self.start, self.final, step=clock.step, steps=clock.steps, shape=self.shape)
        return scaled(super().changed(student, teacher, batch, state), factor)
