"""What a store can keep of an answer. Each kind says what it keeps, in which bytes, and how far that is off."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from limbeck.losses.probability import log_probs
from limbeck.teachers.store.packing import Dtype, Packing, Records
from limbeck.types import Few, Frozen, Outputs

COMPUTED = 1e-4
"""Share of the largest number by which an answer may differ when it is asked for again, on another processor."""


class Kind(Frozen, ABC):
    """How one answer is kept: frozen data, a row of bytes of one width, and back."""

    distribution: ClassVar[bool] = True
    """Whether it is about the probabilities of classes."""
    unit: ClassVar[str] = "logits"
    """Of a difference between a kept and a new answer."""

    kind: str

    @abstractmethod
    def layout(self, classes: int) -> np.dtype[np.void]:
        """The fields of one answer, little-endian and without padding.

        Args:
            classes: Numbers that the teacher gives an example.
        """

    @abstractmethod
    def encode(
        self, answers: Float[Tensor, "batch classes"], ids: Int[Tensor, " batch"], view: int
    ) -> Records:
        """The bytes of some answers.

        Args:
            answers: float32 on the CPU, as the teacher gave them.
            ids: Of the samples.
            view: Which view of them the teacher saw.
        """

    @abstractmethod
    def decode(self, records: Records, classes: int) -> Outputs:
        """What is kept of some answers."""

    @abstractmethod
    def difference(
        self, held: Outputs, new: Float[Tensor, "batch classes"], ids: Int[Tensor, " batch"], view: int
    ) -> Float[Tensor, " batch"]:
        """How far a new answer is from what is kept of the old one, in ``unit``; one number an example."""

    @abstractmethod
    def allowed(self, new: Float[Tensor, "batch classes"]) -> float:
        """How far it may be: what keeping costs, and what another processor makes of the last bits."""

    @abstractmethod
    def bound(self, answers: Float[Tensor, "batch classes"]) -> float:
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

    def encode(self, answers: Tensor, ids: Tensor, view: int) -> Records:
        return self.packing(answers.shape[1]).pack(answers)

    def decode(self, records: Records, classes: int) -> Outputs:
        return Outputs(self.packing(classes).unpack(records))

    def difference(self, held: Outputs, new: Tensor, ids: Tensor, view: int) -> Tensor:
        return apart(held.logits, new)

    def allowed(self, new: Tensor) -> float:
        return self.bound(new) + COMPUTED * largest(new)

    def bound(self, answers: Tensor) -> float:
        return self.packing(answers.shape[1]).bound(answers)


class DenseAnswers(Numbers):
    """Every class: its logit, or its probability."""

    kind: Literal["dense"] = "dense"

    of: Literal["logits", "probabilities"] = "logits"
    """``logits`` as the teacher gives them; ``probabilities`` at temperature 1, which lose what all logits have in
    common, and in few bits the unlikely classes: what is kept as 0 is read as half the smallest step."""

    def packing(self, classes: int) -> Packing:
        return Packing(name=self.of, dtype=self.dtype, shape=(classes,))

    def encode(self, answers: Tensor, ids: Tensor, view: int) -> Records:
        return super().encode(self._kept(answers), ids, view)

    def decode(self, records: Records, classes: int) -> Outputs:
        numbers = self.packing(classes).unpack(records)
        if self.of == "logits":
            return Outputs(numbers)
        step = torch.full((len(numbers), 1), 2.0**-24)
        if self.dtype == "int8":
            step = torch.from_numpy(records["scale"].astype(np.float32))[:, None].clamp(min=2.0**-24)
        return Outputs(torch.maximum(numbers, step / 2).log())

    def difference(self, held: Outputs, new: Tensor, ids: Tensor, view: int) -> Tensor:
        if self.of == "logits":
            return apart(held.logits, new)
        return apart(held.logits.exp(), self._kept(new))

    def bound(self, answers: Tensor) -> float:
        found = super().bound(self._kept(answers))
        return found if self.of == "logits" else max(found, 2.0**-25)

    def allowed(self, new: Tensor) -> float:
        return self.bound(new) + COMPUTED * largest(new)

    def _kept(self, answers: Tensor) -> Tensor:
        return answers if self.of == "logits" else log_probs(answers).exp()


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
