"""What data, teacher, student and method say to each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from limbeck.errors import TeacherError

ABSENT: Final = -1
"""The label of a sample that has none."""

CLEAN: Final = -1
"""The view of a sample that is not augmented."""


class Frozen(BaseModel):
    """Immutable, strict data: the base of every recipe field, method and plan."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, validate_default=True
    )


def digest(value: Any) -> str:
    """Sixteen hex digits that change whenever ``value`` does.

    Args:
        value: A :class:`Frozen` model, or anything that JSON can hold (numbers, strings, lists, mappings).
    """
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples as a model takes them.

    ``ids`` are stable: they depend on a sample's content, not on its place, so stores, banks and replay can
    rely on them. ``views`` says which seeded augmentation each row is (:data:`CLEAN` for none), so that the
    same view can be made again.
    """

    ids: Int[Tensor, " batch"]
    inputs: Tensor
    labels: Int[Tensor, "batch ..."]
    """A class each; of sequences the tokens [batch, length], each row filled up with :data:`ABSENT`."""
    views: Int[Tensor, " batch"]
    mask: Bool[Tensor, "batch ..."] | None = None
    """Which frames of a sequence's inputs [batch, frames] belong to it, the first ones; all where there is none."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labelled(self) -> Bool[Tensor, " batch"]:
        """Which rows have a label: of sequences, at least one token."""
        known = self.labels != ABSENT
        return known if known.ndim == 1 else known.any(-1)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        moved = {name: getattr(self, name).to(device) for name in ("ids", "inputs", "labels", "views")}
        return replace(self, mask=None if self.mask is None else self.mask.to(device), **moved)

    def __getitem__(self, rows: slice) -> Batch:
        """Some of its rows."""
        cut = {name: getattr(self, name)[rows] for name in ("ids", "inputs", "labels", "views")}
        return replace(self, mask=None if self.mask is None else self.mask[rows], **cut)


@dataclass(frozen=True, slots=True)
class Pool:
    """All the samples that a training goes through, for methods that remember something of each."""

    ids: Int[Tensor, " samples"]
    labels: Int[Tensor, "samples ..."]
    """``ABSENT`` where a label may not be seen."""


@dataclass(frozen=True, slots=True)
class Few:
    """Of how many classes an answer says something, where it does not say it of all; also, how many do."""

    likeliest: int = 0
    """So many of the likeliest classes with their probabilities, and the mass of all others."""
    draws: int = 0
    """So many classes that were drawn: of all, or of the others where there are likeliest ones."""
    draw_temperature: float = 1.0
    """Of the distribution that was drawn from."""

    def does_for(self, wanted: Few) -> bool:
        """Whether an answer of this form holds what is wanted."""
        drawn = wanted.draws == 0 or wanted.draw_temperature == self.draw_temperature
        return drawn and wanted.likeliest <= self.likeliest and wanted.draws <= self.draws

    def __str__(self) -> str:
        heated = "" if self.draw_temperature == 1.0 else f" at a temperature of {self.draw_temperature:g}"
        parts = [f"the {self.likeliest} likeliest classes"] if self.likeliest else []
        parts += [f"{self.draws} drawn classes{heated}"] if self.draws else []
        return " and ".join(parts) or "no class"


@dataclass(frozen=True, slots=True)
class Sparse:
    """A distribution over many classes by a few of them: the likeliest ones, and classes drawn from the others."""

    classes: Int[Tensor, "batch likeliest"]
    """The likeliest classes, the likeliest first; none where all were drawn."""
    log_probs: Float[Tensor, "batch likeliest"]
    """Their log-probabilities (nats) among all classes, at temperature 1."""
    tail: Float[Tensor, " batch"]
    """The logarithm of the mass of all other classes; 0 where there are no likeliest ones."""
    drawn: Int[Tensor, "batch draws"]
    """Classes drawn from the others with replacement; none where only the likeliest are known."""
    weights: Float[Tensor, "batch draws"]
    """Of the draws: a sum over them of weight times anything is, on average, the others' expectation of it."""

    def each(self, change: Callable[[Tensor], Tensor]) -> Sparse:
        """The same with every tensor changed."""
        parts = (self.classes, self.log_probs, self.tail, self.drawn, self.weights)
        return Sparse(*map(change, parts))


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a model answers, and the taps that were asked for. One of ``dense``, ``sparse`` and ``text`` is there."""

    dense: Float[Tensor, "batch ... classes"] | None
    """Logits, [batch, classes] or of sequences [batch, frames, classes]; of a model without classes its
    numbers: predicted values, or an embedding."""
    taps: Mapping[str, Tensor] = field(default_factory=dict)
    ask: Callable[[Tensor], Outputs] | None = field(default=None, repr=False, compare=False)
    """Asks the same model about other inputs, as it was asked about these; none where that cannot be done."""
    pull: Callable[[Tensor], Tensor] | None = field(default=None, repr=False, compare=False)
    """The norm of the gradient, at the model's weights, of a number computed from these answers, whose graph is kept;
    none where that cannot be told."""
    sparse: Sparse | None = None
    """What is known of a few classes, where not of all."""
    text: tuple[str, ...] | None = None
    """What a model wrote, one text a row."""

    @property
    def logits(self) -> Float[Tensor, "batch ... classes"]:
        """The dense answers.

        Raises:
            TeacherError: If there are none: who reads them must say so before, see ``Offer.few``.
        """
        if self.dense is None:
            held = "text" if self.sparse is None else "a few classes of each answer"
            raise TeacherError(
                f"Whole logits are read, and these answers hold {held}. Label with a store that keeps logits."
            )
        return self.dense

    @property
    def device(self) -> torch.device:
        """Where the answers are."""
        held = self.dense if self.sparse is None else self.sparse.tail
        return torch.device("cpu") if held is None else held.device

    def __getitem__(self, rows: slice) -> Outputs:
        """The answers for some of the rows."""
        text = None if self.text is None else self.text[rows]
        return replace(self._each(lambda tensor: tensor[rows]), text=text)

    def detach(self) -> Outputs:
        """The same answers, cut from the graph that made them."""
        return self._each(Tensor.detach)

    def to(self, device: torch.device) -> Outputs:
        """The same answers on another device."""
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Outputs:
        return replace(
            self,
            dense=None if self.dense is None else change(self.dense),
            taps={name: change(tap) for name, tap in self.taps.items()},
            sparse=None if self.sparse is None else self.sparse.each(change),
        )


@dataclass(frozen=True, slots=True)
class Offer:
    """What a teacher states that it can give."""

    classes: int
    taps: tuple[str, ...] = ()
    """Inner layers that its answers hold."""
    few: Few | None = None
    """Of how many classes its answers say something; none where they are whole."""
    reads_inputs: bool = True
    """False for a stored teacher, which needs only ids and views."""
    sequences: bool = False
    """Whether it answers with logits in every frame [batch, frames, classes], not once an example."""
    module: nn.Module | None = None
    """The model itself, frozen, for methods that read its parameters or run its later layers; none where it is not
    at hand."""
    folds: int = 0
    """Of how many folds each is answered for by a model that was not trained on it; 0 where one answers for all."""
    in_flight: int = 1
    """How many batches it may be asked about at once, from as many threads."""
    tapping: Callable[[Sequence[str]], Teacher] | None = None
    """Makes the same teacher with other taps; none where its inner layers cannot be read."""


@runtime_checkable
class Teacher(Protocol):
    """Anything that answers for a batch. Always in eval mode, without gradients, outside the student."""

    @property
    def offer(self) -> Offer: ...

    @property
    def digest(self) -> str: ...

    def __call__(self, batch: Batch) -> Outputs: ...


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a loss, unreduced: the loop divides it once, by its own global weight.

    Its share of the loss is ``scale * (values * weights).sum() / total`` where ``total`` is the sum of the
    weights over the whole (accumulated) batch. A batch-coupled loss gives one value whose weight is its
    number of pairs.
    """

    values: Float[Tensor, "*units"]
    weights: Float[Tensor, "*units"]
    unit: str = "example"
    scale: float = 1.0


Terms = Mapping[str, Term]
