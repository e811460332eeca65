"""A temperature that moves over the training, as in annealed distillation (Jafari et al., 2021)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt, field_validator
from torch import nn

from limbeck.methods.base import Method, Traced
from limbeck.methods.clock import Clock, Shape, moved
from limbeck.methods.learned_temperature import LearnedTemperature
from limbeck.methods.states import kept
from limbeck.methods.wrapping import Modifier, inner, leaves, mapped, modifiers, own, weighted, whole_training
from limbeck.types import Batch, Outputs, Terms


class TemperatureSchedule(Modifier):
    r"""Move the temperature over the training, from soft targets to hard ones or the other way.

    .. math:: T_n = T_1 + (T_N - T_1) \, s\!\left(\frac{n - 1}{N - 1}\right), \quad s(x) = x \; \text{or} \;
              \frac{1 - \cos \pi x}{2}

    The first step has the temperature ``start``, the last ``final``; the one that the method itself states is of no
    effect. The paper moves the temperature of the teacher alone, in whole steps and in a regression of the logits;
    this moves that of any method that has one.

    Helps:
        With a much larger teacher, whose soft answers come first.

    Costs:
        Nothing.

    References:
        Jafari, Rezagholizadeh, Sharma & Ghodsi, `Annealing Knowledge Distillation
        <https://arxiv.org/abs/2104.07163>`_, 2021.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2104.07163"

    kind: Literal["temperature-schedule"] = "temperature-schedule"

    start: PositiveFloat = 4.0
    """The temperature of the first step."""
    final: PositiveFloat = 1.0
    """That of the last."""
    shape: Shape = "linear"
    """``linear``, or ``cosine`` for half a cosine, which is slow at both ends."""
    steps: PositiveInt | None = None
    """Steps until ``final`` is reached; null: all of the training."""

    @field_validator("of")
    @classmethod
    def _has_one(cls, of: Method) -> Method:
        for leaf in leaves(of):
            if "temperature" not in type(leaf).model_fields:
                raise ValueError(
                    f"must have a temperature, got {type(leaf).__name__}, which has none; "
                    "put that beside temperature-schedule"
                )
        for part in modifiers(of):
            if isinstance(part, (LearnedTemperature, TemperatureSchedule)):
                raise ValueError(
                    f"must leave its temperature alone, got {type(part).__name__}; take one of them"
                )
        return of

    def remembers(self, traced: Traced) -> Clock:
        return Clock(self.steps or whole_training(self, traced))

    def changed(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None
    ) -> Terms:
        clock = kept(self, own(state), Clock)
        changed = {
            "temperature": moved(self.start, self.final, step=clock.step, steps=clock.steps, shape=self.shape)
        }
        method = mapped(self.of, lambda leaf: leaf.model_copy(update=changed))
        terms = method.loss(student, teacher, batch, inner(state))
        return weighted(terms, self.of.weights(teacher, batch))
