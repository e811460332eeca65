"""An average of the student as its teacher (Tarvainen & Valpola, 2017)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat
from torch import Tensor, nn

from limbeck.losses.divergence import forward_kl
from limbeck.methods.base import Method, Reads, Traced
from limbeck.methods.states import kept
from limbeck.types import Batch, Outputs, Term, Terms


class EMA(Method):
    r"""Match a moving average of the student's own weights, which answers more steadily than the student.

    The average moves after each update, :math:`\theta' \leftarrow m \theta' + (1 - m) \theta`; buffers are copied.
    It sees what the student sees, in eval mode, for one more forward pass a step and one more copy of the weights.
    The paper compares probabilities by their squared distance and raises the weight along a bell; here it is the KL
    divergence, and a straight line.

    Helps:
        Without a teacher, with many unlabelled samples beside few labelled ones.

    Costs:
        One more forward pass of the student in each step, and a copy of its weights.

    References:
        Tarvainen & Valpola, `Mean teachers are better role models <https://arxiv.org/abs/1703.01780>`_, 2017,
        section 2.
    """

    family: ClassVar[str] = "self"
    paper: ClassVar[str] = "https://arxiv.org/abs/1703.01780"

    kind: Literal["ema"] = "ema"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Share of the old average that is kept at each update; 0 copies the student."""
    temperature: PositiveFloat = 1.0
    """Softens both. The term is multiplied by its square."""
    ramp_up_steps: NonNegativeInt = 0
    """Updates over which the weight rises in a line from 0 to its value; 0: it has it from the start."""

    @property
    def reads(self) -> Reads:
        return Reads(teacher=False, labels="none")

    def init(self, traced: Traced) -> nn.Module:
        return _Average(traced.student_model, traced.computing)

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return {"ema": torch.ones(len(batch), device=batch.labels.device)}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        average = kept(self, state, _Average)
        values = forward_kl(student.logits, average(batch.inputs), temperature=self.temperature)
        risen = min(1.0, int(average.updates) / self.ramp_up_steps) if self.ramp_up_steps else 1.0
        return {
            "ema": Term(values, values.new_ones(len(batch)), scale=self.weight * self.temperature**2 * risen)
        }

    def advance(self, student: nn.Module, state: nn.Module | None) -> None:
        kept(self, state, _Average).follow(student, momentum=self.momentum)


class _Average(nn.Module):
    """A frozen copy of the student that follows it; always in eval mode."""

    updates: Tensor

    def __init__(self, student: nn.Module, computing: Callable[[], AbstractContextManager[object]]) -> None:
        super().__init__()
        self.student = copy.deepcopy(student).requires_grad_(False)
        self.student.zero_grad()
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._computing = computing
        self.train(False)

    def train(self, mode: bool = True) -> _Average:
        """Eval mode, whatever is asked for."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """The average's logits."""
        with self._computing():
            logits: Tensor = self.student(inputs)
        return logits

    @torch.no_grad()
    def follow(self, student: nn.Module, *, momentum: float) -> None:
        """Move the weights towards the student's and take over its buffers."""
        for average, weight in zip(self.student.parameters(), student.parameters(), strict=True):
            average.lerp_(weight, 1.0 - momentum)
        for former, buffer in zip(self.student.buffers(), student.buffers(), strict=True):
            former.copy_(buffer)
        self.updates += 1
