"""A second head for the teacher's answers (Touvron et al., 2021)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.losses.classification import cross_entropy
from limbeck.losses.divergence import forward_kl
from limbeck.losses.ensemble import mean_probability
from limbeck.methods.base import Method, Reads, Traced, answered
from limbeck.methods.states import kept
from limbeck.taps import INPUT, Layer, places
from limbeck.types import Batch, Outputs, Term, Terms


class DeiT(Method):
    """Teach a second head the teacher's largest class, and ship the mean of both heads' probabilities (DeiT).

    The head is a linear layer beside the student's last one, on the same features; in the paper it has a token of its
    own. The student's head learns nothing here: with ``ce`` at the same weight it is the paper's even blend,
    ``{deit: {weight: 0.5}, ce: {weight: 0.5}}``. What ships answers with the logarithm of the mean.

    Helps:
        For students that are transformers, with a convolutional teacher and strong augmentation.

    Costs:
        A second linear head, which ships and is counted.

    References:
        Touvron, Cord, Douze, Massa, Sablayrolles & Jégou, `Training data-efficient image transformers &
        distillation through attention <https://arxiv.org/abs/2012.12877>`_, 2021, section 4 (soft: at 3).
    """

    family: ClassVar[str] = "response"
    paper: ClassVar[str] = "https://arxiv.org/abs/2012.12877"

    kind: Literal["deit"] = "deit"
    temperature: PositiveFloat | None = None
    """Softens both sides, whose KL divergence is multiplied by its square; null: the teacher's largest class."""
    place: str = "penultimate"
    """The input of the linear layer that gives the student's logits."""

    @property
    def reads(self) -> Reads:
        named = (self.place,) if self.place.endswith(INPUT) else ()
        return Reads(teacher=True, labels="none", student_taps=named)

    @property
    def grows(self) -> bool:
        return True

    def bind(self, student: Sequence[Layer], teacher: Sequence[Layer] | None) -> DeiT:
        """The same method with a path for its place.

        Raises:
            MethodError: If it is not the input of one layer.
            ModelError: If the layer does not exist.
        """
        found = places(student, self.place, owner="the student")
        if len(found) > 1 or not found[0].endswith(INPUT):
            raise MethodError(
                f"deit.place is {self.place!r}, expected the input of one linear layer, such as 'head{INPUT}', or "
                "'penultimate'."
            )
        return self.model_copy(update={"place": found[0]})

    def init(self, traced: Traced) -> nn.Module:
        """The second head.

        Raises:
            MethodError: If the student's logits are not what the layer gives.
        """
        with traced.computing():
            given = _head(traced.student_model, self.place)(traced.student.taps[self.place])
        logits = traced.student.logits
        if given.shape != logits.shape or not torch.allclose(given.to(logits.dtype), logits, atol=1e-4):
            raise MethodError(
                f"DeiT puts a second head beside the layer that gives the student's logits, and they are not the "
                f"output of {self.place.removesuffix(INPUT)!r}. Name that layer's input: deit.place."
            )
        return nn.Linear(traced.student.taps[self.place].shape[1], logits.shape[1])

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return {"deit": torch.ones(len(batch), device=batch.labels.device)}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        answers = answered(self, teacher).logits
        logits = kept(self, state, nn.Linear)(student.taps[self.place])
        if self.temperature is None:
            values, scale = cross_entropy(logits, answers.argmax(-1)), self.weight
        else:
            values = forward_kl(logits, answers, temperature=self.temperature)
            scale = self.weight * self.temperature**2
        return {"deit": Term(values, values.new_ones(len(batch)), scale=scale)}

    def deploy(self, student: nn.Module, state: nn.Module | None) -> nn.Module:
        """A copy of the student with both heads; it needs neither the student nor the state any more."""
        return _TwoHeaded(student, self.place, kept(self, state, nn.Linear))


class _TwoHeaded(nn.Module):
    """A student whose last layer is two."""

    def __init__(self, student: nn.Module, place: str, second: nn.Linear) -> None:
        super().__init__()
        self.student = copy.deepcopy(student)
        heads = _Heads(_head(self.student, place), copy.deepcopy(second))
        self.student.set_submodule(place.removesuffix(INPUT), heads)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logarithms of the probabilities [batch, classes]."""
        logits: Tensor = self.student(inputs)
        return logits


class _Heads(nn.Module):
    """Two linear layers and the mean of what they believe."""

    def __init__(self, first: nn.Linear, second: nn.Linear) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, features: Tensor) -> Tensor:
        """Logarithms of the mean probabilities [batch, classes]."""
        return mean_probability(torch.stack([self.first(features), self.second(features)]))


def _head(student: nn.Module, place: str) -> nn.Linear:
    """The layer whose input is the place."""
    found = dict(student.named_modules(remove_duplicate=False)).get(place.removesuffix(INPUT))
    if not isinstance(found, nn.Linear):
        raise MethodError(
            f"DeiT puts a second head beside {place.removesuffix(INPUT)!r}, and in {type(student).__name__} that is "
            f"{type(found).__name__}, expected nn.Linear. Name another layer's input, or leave out the other method "
            "that changes what ships."
        )
    return found
