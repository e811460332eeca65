"""Several trained models as one module, whose members' answers can still be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Literal

import torch
from torch import Tensor, nn

from limbeck.errors import ModelError
from limbeck.losses.ensemble import mean_logit, mean_probability

MEMBER: Final = "member:"
"""What the name of a place begins with that holds the logits of one model of several."""

Combination = Literal["mean-probability", "mean-logit"]


class Together(nn.Module):
    """Models that answer as one, as a teacher for whatever takes a module.

    Its members are its children ``member:0``, ``member:1`` and so on, whose logits methods can read.

    Args:
        members: Modules that answer with logits of the same classes.
        combine: ``mean-probability`` averages their distributions, ``mean-logit`` their logits, which is the
            geometric mean of their distributions at every temperature.
        temperature: At which distributions are averaged. The softmax of the answers at this temperature is their
            mean there, so give it the one of the method; at 1 the answers' plain softmax is the mean.

    Raises:
        ModelError: If there are no members, or there is no such combination.
    """

    def __init__(
        self,
        members: Sequence[nn.Module],
        *,
        combine: Combination = "mean-probability",
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        if not members:
            raise ModelError("Several models together need at least one. Give Together([model, ...]).")
        self.combination = combined(combine, temperature)
        self.combine, self.temperature = combine, temperature
        for number, member in enumerate(members):
            self.add_module(member_tap(number), member)

    @property
    def name(self) -> str:
        """Its members' classes, for reports."""
        return f"Together({', '.join(type(member).__qualname__ for member in self.children())})"

    def forward(self, inputs: Tensor) -> Tensor:
        return self.combination(torch.stack([member(inputs) for member in self.children()]))

    def extra_repr(self) -> str:
        return f"combine={self.combine!r}, temperature={self.temperature}"


def combined(combine: Combination, temperature: float = 1.0) -> Callable[[Tensor], Tensor]:
    """What makes one model's logits of several models' [models, *batch, classes].

    Args:
        combine: As in :class:`Together`.
        temperature: As in :class:`Together`.

    Raises:
        ModelError: If there is no such combination, or the temperature is not greater than 0.
    """
    known: Mapping[str, Callable[[Tensor], Tensor]] = {
        "mean-probability": partial(mean_probability, temperature=temperature),
        "mean-logit": mean_logit,
    }
    if combine not in known:
        raise ModelError(f"combine must be {' or '.join(map(repr, known))}, got {combine!r}.")
    if not temperature > 0:
        raise ModelError(f"The temperature of an ensemble must be greater than 0, got {temperature}.")
    return known[combine]


def member_tap(number: int) -> str:
    """The place that holds the logits of one member, counted from 0."""
    return f"{MEMBER}{number}"
