"""A temperature that is learned against the student: CTKD (Li et al., 2023)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Annotated, ClassVar, Final, Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.methods.base import Method, Traced, answered
from limbeck.methods.clock import Clock, moved
from limbeck.methods.kd import KD
from limbeck.methods.states import kept
from limbeck.methods.wrapping import (
    AnyMethod,
    Modifier,
    comparing_logits,
    inner,
    leaves,
    mapped,
    own,
    weighted,
    with_logits,
)
from limbeck.types import Batch, Outputs, Term, Terms

_PROBED: Final = 2.0
_POWERS: Final = (2, 1, 0)


class LearnedTemperature(Modifier):
    r"""Learn one temperature along with the student, and against it, so that the task grows harder.

    .. math:: T = T_{lowest} + (T_{highest} - T_{lowest}) \, \sigma(\theta)

    The gradient of :math:`\theta` is turned round, times a strength that rises from 0 to 1; the student's is that at
    a fixed temperature. Both sides' logits are divided by T before a method at a temperature of 1 sees them, and each
    term is multiplied by the power of T that the method itself multiplies it by. One temperature for all examples;
    the paper's other variant has a net that gives each its own. Published with :math:`\theta = 1` at the start, T
    from 1 to 21, and a strength that rises over 10 of 240 epochs.

    Helps:
        Where no temperature has been tuned, and training is long enough for a curriculum.

    Costs:
        One number is trained along; nothing of it ships.

    References:
        Li, Li, Yang, Zhao, Song, Luo, Li & Yang, `Curriculum Temperature for Knowledge Distillation
        <https://arxiv.org/abs/2211.16231>`_, 2023, section 3.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2211.16231"

    kind: Literal["learned-temperature"] = "learned-temperature"

    of: Annotated[AnyMethod, Field(json_schema_extra={"default": {"kd": {"temperature": 1}}})] = KD(
        temperature=1
    )
    """The method that is changed: one on logits whose own temperature is 1, a sum of such, or another modifier."""
    lowest: PositiveFloat = 1.0
    """The temperature stays above it."""
    highest: PositiveFloat = 21.0
    """And below it."""
    rise_steps: PositiveInt = 100
    """Steps until the temperature is learned at full strength."""

    _compares = field_validator("of")(comparing_logits)

    @field_validator("of")
    @classmethod
    def _at_one(cls, of: Method) -> Method:
        for leaf in leaves(of):
            if getattr(leaf, "temperature", None) != 1.0:
                raise ValueError(
                    f"must have a temperature of 1, since the learned one takes its place, got {leaf!r}; "
                    "set its temperature to 1, or put it beside learned-temperature"
                )
        return of

    @model_validator(mode="after")
    def _ordered(self) -> LearnedTemperature:
        if self.lowest >= self.highest:
            raise ValueError(f"lowest must be below highest ({self.highest}), got {self.lowest}")
        return self

    def remembers(self, traced: Traced) -> nn.Module:
        return _Learned()

    def init(self, traced: Traced) -> nn.Module | None:
        state = super().init(traced)
        kept(self, own(state), _Learned).powers = _powers(self.of, traced, inner(state))
        return state

    def changed(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None
    ) -> Terms:
        learned = kept(self, own(state), _Learned)
        strength = moved(0.0, 1.0, step=learned.clock.step, steps=self.rise_steps + 1, shape="cosine")
        width = self.highest - self.lowest
        temperature = reversed_gradient(self.lowest + width * torch.sigmoid(learned.place), strength)
        terms = _softened(self.of, temperature, student, teacher, batch, inner(state))
        return {
            name: replace(term, values=term.values * temperature ** learned.powers[name])
            for name, term in weighted(terms, self.of.weights(teacher, batch)).items()
        }


class _Learned(nn.Module):
    """The parameter of the temperature, how long it has been trained, and what the terms do with a temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.place = nn.Parameter(torch.ones(()))
        self.powers: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class _Tempered(Outputs):
    """A teacher's answers whose only graph is that of the temperature, which methods must not cut."""

    def detach(self) -> Outputs:
        return self


def reversed_gradient(number: Tensor, strength: float) -> Tensor:
    """The same number, whose gradient is turned round and multiplied by a strength."""
    return number.detach() - strength * (number - number.detach())


def _softened(
    method: Method,
    temperature: Tensor,
    student: Outputs,
    teacher: Outputs | None,
    batch: Batch,
    state: nn.Module | None,
) -> Terms:
    """A method's terms for logits that are divided by a temperature on both sides."""
    divide = partial(_divided, temperature=temperature)
    cut = answered(method, teacher)
    theirs = _Tempered(**{each.name: getattr(cut, each.name) for each in fields(cut)})
    return method.loss(with_logits(student, divide), with_logits(theirs, divide), batch, state)


def _divided(logits: Tensor, temperature: Tensor) -> Tensor:
    absent = logits.isneginf()  # its gradient for the temperature would be infinite
    return (logits.masked_fill(absent, 0.0) / temperature.to(logits.dtype)).masked_fill(absent, -torch.inf)


def _powers(method: Method, traced: Traced, state: nn.Module | None) -> dict[str, int]:
    """The power of its temperature that each term is multiplied by, from what a method does with random logits.

    Raises:
        MethodError: If it does more with its temperature than that.
    """
    generator = torch.Generator().manual_seed(0)
    size = traced.student.logits.shape
    student, teacher = (3 * torch.randn(2, *size, generator=generator)).to(traced.student.logits.device)
    labels = torch.arange(size[0], device=traced.batch.labels.device) % size[1]
    batch = replace(traced.batch, labels=labels)
    hot = mapped(method, lambda leaf: leaf.model_copy(update={"temperature": _PROBED}))
    losses = (
        lambda held: hot.loss(Outputs(student), Outputs(teacher), batch, held),
        lambda held: _softened(
            method, student.new_tensor(_PROBED), Outputs(student), Outputs(teacher), batch, held
        ),
    )
    own_way, divided = (_probed(loss, state, student.device) for loss in losses)
    return {name: _power(name, own_way[name], term) for name, term in divided.items()}


def _probed(
    loss: Callable[[nn.Module | None], Terms], state: nn.Module | None, device: torch.device
) -> Terms:
    """A loss that leaves the random numbers as they were, and the state, of which it gets a copy."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
        return loss(None if state is None else copy.deepcopy(state).to(device))


def _power(name: str, own_way: Term, divided: Term) -> int:
    wanted, found = (term.values * term.scale for term in (own_way, divided))
    for power in _POWERS:
        if torch.allclose(found * _PROBED**power, wanted, rtol=1e-3, atol=1e-5):
            return power
    raise MethodError(
        f"learned-temperature divides the logits of both sides, and the term {name!r} does more than that with its "
        "temperature. Take temperature-schedule, or another method inside."
    )
