"""Earlier samples again, with what the student said to them then (Buzzega et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.losses.classification import cross_entropy
from limbeck.losses.logits import logit_mse
from limbeck.methods.base import Method, Reads, Traced
from limbeck.methods.states import kept, last_of_each
from limbeck.types import ABSENT, Batch, Outputs, Term, Terms


class Replay(Method):
    """Keep to earlier answers on a random store of earlier samples (DER), and to their labels (DER++).

    The store is a reservoir: at any time every sample given so far is in it with the same chance, with its inputs
    exactly as they were given, its label and the student's logits of that step. Each step draws as many rows as the
    batch has, and compares the student's logits with the stored ones by their mean squared difference; with a
    ``label_weight``, other rows are drawn for a cross-entropy with their labels. Each draw is one more forward pass,
    in training mode as in the authors' code, so that it moves the statistics of batch normalisation. As long as the
    store is empty the terms are 0. Published weights for 500 samples of CIFAR-100 are 0.3 and, with labels, 0.5.

    Helps:
        When tasks come one after another and some samples of earlier ones may be kept.

    Costs:
        One or two more forward passes in each step, and ``capacity`` samples in memory and in the
        checkpoint.

    References:
        Buzzega, Boschini, Porrello, Abati & Calderara, `Dark Experience for General Continual Learning: a
        Strong, Simple Baseline <https://arxiv.org/abs/2004.07211>`_, 2020, section 3.

        Vitter, `Random Sampling with a Reservoir <https://doi.org/10.1145/3147.3165>`_, 1985.
    """

    family: ClassVar[str] = "continual"
    paper: ClassVar[str] = "https://arxiv.org/abs/2004.07211"

    kind: Literal["replay"] = "replay"
    capacity: PositiveInt = 500
    """Samples in the store."""
    label_weight: NonNegativeFloat = 0.0
    """Of the term on stored labels (DER++), relative to that on stored logits; 0 leaves it out."""

    @property
    def reads(self) -> Reads:
        return Reads(teacher=False, labels="some" if self.label_weight else "none")

    @property
    def _scales(self) -> dict[str, float]:
        scales = {"replay": self.weight}
        return {**scales, "replay-ce": self.weight * self.label_weight} if self.label_weight else scales

    def init(self, traced: Traced) -> nn.Module:
        return _Reservoir(self.capacity, traced.batch.inputs, traced.student.logits)

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        every = torch.ones(len(batch), device=batch.labels.device)
        return dict.fromkeys(self._scales, every)

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        store = kept(self, state, _Reservoir)
        # a row of numbers a sample, so that a batch and its micro-batches draw alike
        chances = torch.rand(len(batch), 3, dtype=torch.float64).to(batch.labels.device)
        values = self._values(student, store, chances)
        store.offer(batch, student.logits.detach(), chances[:, 2])
        every = torch.ones_like(values["replay"])
        return {name: Term(values[name], every, scale=scale) for name, scale in self._scales.items()}

    def advance(self, student: nn.Module, state: nn.Module | None) -> None:
        kept(self, state, _Reservoir).settle()

    def _values(self, student: Outputs, store: _Reservoir, chances: Tensor) -> dict[str, Tensor]:
        if store.empty:
            nothing = student.logits[:, :0].sum(-1)  # zeros that have a gradient, of 0
            return dict.fromkeys(self._scales, nothing)
        rows = store.draw(chances[:, 0])
        values = {"replay": logit_mse(_again(student, store, rows), store.logits.index_select(0, rows))}
        if self.label_weight:
            rows = store.draw(chances[:, 1])
            labels = store.labels.index_select(0, rows)
            values["replay-ce"] = cross_entropy(_again(student, store, rows), labels)
        return values


def _again(student: Outputs, store: _Reservoir, rows: Tensor) -> Tensor:
    """The student's present logits for stored samples."""
    if student.ask is None:
        raise MethodError(
            "Replay asks the student about earlier samples, and this loop gave it answers alone. Fill in "
            "Outputs.ask, or train with limbeck.training.train."
        )
    return student.ask(store.inputs.index_select(0, rows)).logits


class _Reservoir(nn.Module):
    """A uniform sample of all that was offered. What a step offers is taken in after it, so that its draws, and those
    of all its micro-batches, are from the same rows.
    """

    inputs: Tensor
    logits: Tensor
    labels: Tensor
    seen: Tensor

    def __init__(self, capacity: int, inputs: Tensor, logits: Tensor) -> None:
        super().__init__()
        self.register_buffer("inputs", inputs.new_zeros((capacity, *inputs.shape[1:])))
        self.register_buffer("logits", logits.new_zeros((capacity, logits.shape[1])))
        self.register_buffer("labels", torch.full((capacity,), ABSENT))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self._waiting: list[list[Tensor]] = []
        self._offered = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return int(self.seen) == 0

    def draw(self, chances: Float[Tensor, " rows"]) -> Int[Tensor, " rows"]:
        """Stored rows, each with the same chance, from numbers between 0 and 1."""
        return (chances * self.seen.clamp(max=len(self.labels))).long()

    def offer(self, batch: Batch, logits: Tensor, chances: Float[Tensor, " rows"]) -> None:
        """Note the samples that are to be stored and where: the n-th with a chance of capacity / n."""
        before = torch.arange(len(batch), device=chances.device) + (int(self.seen) + self._offered)
        capacity = len(self.labels)
        slots = torch.where(before < capacity, before, (chances * (before + 1)).long())
        taken = (slots < capacity).nonzero()[:, 0]
        rows = (each.index_select(0, taken) for each in (slots, batch.inputs, logits, batch.labels))
        self._waiting.append(list(rows))
        self._offered += len(batch)

    def settle(self) -> None:
        """Store what was noted."""
        if not self._waiting:
            return
        slots, *rows = (torch.cat(parts) for parts in zip(*self._waiting, strict=True))
        last = last_of_each(slots)
        for bank, fresh in zip((self.inputs, self.logits, self.labels), rows, strict=True):
            bank.index_copy_(0, slots[last], fresh[last].to(bank.dtype))
        self.seen += self._offered
        self._waiting, self._offered = [], 0
