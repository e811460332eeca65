"""What a store can keep of an answer. Each kind says what it keeps, in which bytes, and how far that is off."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Final, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from limbeck.losses.probability import log_probs
from limbeck.teachers.store.packing import Dtype, Packing, Records
from limbeck.types import Few, Frozen, Outputs

COMPUTED = 1e-4
"""Share of the largest number by which an answer may differ when it is asked for again, on another processor."""

_LEAST_SHARE: Final = 2.0**-10
"""Of the smallest step: what a probability is read as that was kept as 0, at least, so that no class is ruled out."""


class Kind(Frozen, ABC):
    """How one answer is kept: frozen data, a row of bytes of one width, and back."""

    distribution: ClassVar[bool] = True
    """Whether it is about the probabilities of classes."""
    unit: ClassVar[str] = "units"
    """Of a difference between a kept and a new answer."""

    kind: str

    @abstractmethod
    def layout(self, classes: int) -> np.dtype[np.void]:
        """The fields of one answer, little-endian and without padding.

        Args:
            classes: Numbers that the teacher gives an example.
        """

    @abstractmethod
    def encode(self, answers: Outputs, ids: Int[Tensor, " batch"], view: int) -> Records:
        """The bytes of some answers.

        Args:
            answers: As the teacher gave them: whole, float32 on the CPU.
            ids: Of the samples.
            view: Which view of them the teacher saw.
        """

    @abstractmethod
    def decode(self, records: Records, classes: int) -> Outputs:
        """What is kept of some answers."""

    @abstractmethod
    def difference(
        self, held: Outputs, new: Outputs, ids: Int[Tensor, " batch"], view: int
    ) -> Float[Tensor, " batch"]:
        """How far a new answer is from what is kept of the old one, in ``unit``; one number an example."""

    @abstractmethod
    def allowed(self, new: Outputs) -> float:
        """How far it may be: what keeping costs, and what another processor makes of the last bits."""

    @abstractmethod
    def bound(self, answers: Outputs) -> float:
        """The largest difference that keeping makes, in ``unit``, apart from what is left out."""

    def few(self, classes: int) -> Few | None:
        """Of how many classes something is kept; none where of all."""
        return None

    def unit_bytes(self, classes: int) -> int:
        """Bytes of one answer."""
        return int(self.layout(classes).itemsize)


class Numbers(Kind):
    """All the numbers of an answer, in one format."""

    dtype: Dtype = "float16"
    """``float32``, ``float16``, or ``int8``: eight bits, with a scale and an offset for each answer."""

    @abstractmethod
    def packing(self, classes: int) -> Packing:
        """How the numbers are written."""

    def layout(self, classes: int) -> np.dtype[np.void]:
        return self.packing(classes).layout

    def numbers(self, answers: Outputs) -> Tensor:
        """What is written of some answers."""
        return answers.logits

    def encode(self, answers: Outputs, ids: Tensor, view: int) -> Records:
        return self.packing(answers.logits.shape[1]).pack(self.numbers(answers))

    def decode(self, records: Records, classes: int) -> Outputs:
        return Outputs(self.packing(classes).unpack(records))

    def difference(self, held: Outputs, new: Outputs, ids: Tensor, view: int) -> Tensor:
        return apart(held.logits, self.numbers(new))

    def allowed(self, new: Outputs) -> float:
        return self.bound(new) + COMPUTED * largest(self.numbers(new))

    def bound(self, answers: Outputs) -> float:
        return self.packing(answers.logits.shape[1]).bound(self.numbers(answers))


class DenseAnswers(Numbers):
    """Every class: its logit, or its probability."""

    unit: ClassVar[str] = "logits or probabilities"

    kind: Literal["dense"] = "dense"

    of: Literal["logits", "probabilities"] = "logits"
    """``logits`` as the teacher gives them; ``probabilities`` at temperature 1, which lose what all logits have in
    common, and in few bits the unlikely classes: those that are kept as 0 share what the others leave of 1."""

    def packing(self, classes: int) -> Packing:
        return Packing(name=self.of, dtype=self.dtype, shape=(classes,))

    def numbers(self, answers: Outputs) -> Tensor:
        return answers.logits if self.of == "logits" else log_probs(answers.logits).exp()

    def decode(self, records: Records, classes: int) -> Outputs:
        numbers = self.packing(classes).unpack(records)
        if self.of == "logits":
            return Outputs(numbers)
        step = torch.full((len(numbers), 1), 2.0**-24)
        if self.dtype == "int8":
            step = torch.from_numpy(records["scale"].astype(np.float32))[:, None].clamp(min=2.0**-24)
        gone = numbers <= 0
        left = (1 - numbers.sum(1, keepdim=True)) / gone.sum(1, keepdim=True).clamp(min=1)
        share = left.clamp(min=0.0).maximum(step * _LEAST_SHARE).minimum(step / 2)
        return Outputs(torch.where(gone, share, numbers).log())

    def difference(self, held: Outputs, new: Outputs, ids: Tensor, view: int) -> Tensor:
        kept = held.logits if self.of == "logits" else held.logits.exp()
        return apart(kept, self.numbers(new))

    def bound(self, answers: Outputs) -> float:
        found = super().bound(answers)
        return found if self.of == "logits" else max(found, 2.0**-25)


class Values(Numbers):
    """The numbers that a regression predicts."""

    distribution: ClassVar[bool] = False
    unit: ClassVar[str] = "units of the values"

    kind: Literal["values"] = "values"

    def packing(self, classes: int) -> Packing:
        return Packing(name="values", dtype=self.dtype, shape=(classes,))


class Embeddings(Numbers):
    """One vector a sample."""

    distribution: ClassVar[bool] = False
    unit: ClassVar[str] = "units of the embedding"

    kind: Literal["embeddings"] = "embeddings"

    def packing(self, classes: int) -> Packing:
        return Packing(name="embedding", dtype=self.dtype, shape=(classes,))


class Features(Frozen):
    """One tap of the teacher, kept beside its answers: a feature map, or hidden states."""

    kind: Literal["features"] = "features"

    name: str
    """The layer, as ``limbeck layers`` names it, or its input (``head@in``)."""

    shape: tuple[int, ...]
    """Of one sample's features."""

    dtype: Dtype = "float16"
    """``float32``, ``float16``, or ``int8``: eight bits, with a scale and an offset for each sample."""

    @property
    def packing(self) -> Packing:
        """How the features are written."""
        return Packing(name="features", dtype=self.dtype, shape=self.shape)

    def allowed(self, new: Tensor) -> float:
        """How far features that are asked for again may be from these."""
        return self.packing.bound(new) + COMPUTED * largest(new)


def apart(held: Tensor, new: Tensor) -> Tensor:
    """The largest absolute difference in each row; 0 where both are infinite in the same way."""
    same = held == new
    return (held - new).abs().masked_fill(same, 0.0).flatten(1).amax(1)


def largest(numbers: Tensor) -> float:
    """The largest finite number without its sign."""
    return float(numbers.abs().masked_fill(~numbers.isfinite(), 0.0).max())
