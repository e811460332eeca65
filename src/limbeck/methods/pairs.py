"""What methods on inner layers share: which layers of the two sides are compared, and connectors between them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.methods.base import Method, Reads, Traced, answered
from limbeck.methods.connectors import Kind, connector
from limbeck.methods.states import kept
from limbeck.taps import Layer, attention, by_depth, paired_stages, penultimate, places
from limbeck.types import Batch, Few, Frozen, Outputs, Term, Terms


class Pair(Frozen):
    """One place of the student, and the place of the teacher that it is compared with."""

    student: str
    """A path, a pattern, ``penultimate``, ``stages``, ``stage:2``, ``queries:1``; see ``limbeck layers``."""

    teacher: str
    """The same, in the teacher; it must name as many places as ``student`` does."""


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, (Pair, dict)) else value


Pairs = Annotated[
    Annotated[tuple[Pair, ...], Field(min_length=1)]
    | Literal["stages", "last", "penultimate", "queries", "keys", "values"],
    BeforeValidator(_listed),
]
"""``stages`` pairs each stage of the student with one of the teacher's; ``last`` the last stages alone;
``penultimate`` what the two last linear layers read; ``queries``, ``keys`` and ``values`` what the attention layers
make, each with those of the teacher's layer at the same relative depth."""


class PairedMethod(Method):
    """A method that compares inner layers. Its pairs are named before the first step; see :meth:`bind`."""

    pairs: Pairs = "stages"
    """Which layers are compared: ``stages``, ``last``, ``penultimate``, ``queries``, ``keys``, ``values``, or a
    list of {student, teacher}."""

    @property
    def reads(self) -> Reads:
        named = self.named
        return Reads(
            teacher=True,
            labels="none",
            inside=True,
            few=Few(),
            student_taps=tuple(dict.fromkeys(pair.student for pair in named)),
            teacher_taps=tuple(dict.fromkeys(pair.teacher for pair in named)),
        )

    @property
    def named(self) -> tuple[Pair, ...]:
        """The pairs, once they are named; none before."""
        return () if isinstance(self.pairs, str) else self.pairs

    def bind(self, student: Sequence[Layer], teacher: Sequence[Layer] | None) -> PairedMethod:
        """The same method with a path for each side of each pair.

        Raises:
            MethodError: If the teacher's layers are not at hand, or a pair names different numbers of layers.
            ModelError: If a layer does not exist.
        """
        if teacher is None:
            raise MethodError(
                f"{type(self).__name__} compares inner layers, and those of this teacher cannot be read: it is "
                "stored, or not a torch module. Give the module itself, or StoredTeacher(store, module=...)."
            )
        return self.model_copy(update={"pairs": tuple(_found(self.pairs, student, teacher))})

    def features(self, student: Outputs, teacher: Outputs | None) -> Iterator[tuple[Tensor, Tensor]]:
        """What the two sides have at each pair; the teacher's without its graph."""
        theirs = answered(self, teacher)
        for pair in self.named:
            yield student.taps[pair.student], theirs.taps[pair.teacher]

    def sides(
        self, student: Outputs, teacher: Outputs | None, state: nn.Module | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """What is compared at each pair."""
        return self.features(student, teacher)

    def connected(
        self, traced: Traced, make: Callable[[tuple[int, ...], tuple[int, ...]], nn.Module]
    ) -> nn.ModuleList:
        """One connector for each pair, made from the shapes of its two sides, with the batch."""
        sides = self.features(traced.student, traced.teacher)
        return nn.ModuleList(make(tuple(ours.shape), tuple(theirs.shape)) for ours, theirs in sides)

    def projected(
        self, student: Outputs, teacher: Outputs | None, state: nn.Module | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As :meth:`features`, the student's led through the connectors of :meth:`connected`."""
        for connect, (ours, theirs) in zip(
            made(self, state, nn.Module), self.features(student, teacher), strict=True
        ):
            yield connect(ours), theirs


Part = TypeVar("Part", bound=nn.Module)


def made(method: Method, state: nn.Module | None, kind: type[Part]) -> list[Part]:
    """What a method's init made for each of its pairs.

    Raises:
        MethodError: If it is not there, or another method's.
    """
    parts = list(kept(method, state, nn.ModuleList))
    found = [part for part in parts if isinstance(part, kind)]
    if len(found) != len(parts):
        raise MethodError(f"{type(method).__name__} got what another method's init made. Call its own.")
    return found


class Averaged(PairedMethod):
    """One term: the mean over the pairs of something that has one value an example."""

    family: ClassVar[str] = "feature"

    @abstractmethod
    def each(self, student: Outputs, teacher: Outputs | None, state: nn.Module | None) -> Iterator[Tensor]:
        """For each pair one number an example."""

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return {self.kind: torch.ones(len(batch), device=batch.labels.device)}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        values = torch.stack(list(self.each(student, teacher, state))).mean(0)
        return {self.kind: Term(values, torch.ones_like(values), scale=self.weight)}


class Compared(Averaged):
    """A distance between what the two sides have at each pair."""

    @abstractmethod
    def values(self, student: Tensor, teacher: Tensor) -> Tensor:
        """One number an example, from what the two sides have at one pair; the teacher's without its graph."""

    def each(self, student: Outputs, teacher: Outputs | None, state: nn.Module | None) -> Iterator[Tensor]:
        for ours, theirs in self.sides(student, teacher, state):
            yield self.values(ours, theirs)


class Connected(Compared):
    """The same after a trained map from the student's features to the teacher's, which is dropped at the end."""

    connector: Kind = "linear"
    """How the student's features are mapped: ``linear``, ``convolution`` (maps only), or ``orthogonal``, which
    keeps angles and needs a student that is not wider than the teacher."""

    def init(self, traced: Traced) -> nn.Module | None:
        return self.connected(traced, lambda ours, theirs: connector(ours, theirs, kind=self.connector))

    def sides(
        self, student: Outputs, teacher: Outputs | None, state: nn.Module | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        return self.projected(student, teacher, state)


class Coupled(PairedMethod):
    """One term: the mean over the pairs of a distance between whole batches."""

    family: ClassVar[str] = "relation"

    pairs: Pairs = "penultimate"
    """Which layers are compared: ``penultimate``, ``stages``, ``last``, or a list of {student, teacher}."""

    @property
    def reads(self) -> Reads:
        return replace(super().reads, coupled=True)

    @abstractmethod
    def value(self, student: Tensor, teacher: Tensor) -> Tensor:
        """One number for a batch, from what the two sides have at one pair; the teacher's without its graph."""

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return {self.kind: torch.full((1,), float(self.units(len(batch))), device=batch.labels.device)}

    def units(self, examples: int) -> int:
        """How many pairs of samples a batch has; at least 1, so that a batch of one is worth something."""
        return max(examples * (examples - 1) // 2, 1)

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        each = [self.value(ours, theirs) for ours, theirs in self.sides(student, teacher, state)]
        value = torch.stack(each).mean().reshape(1)
        weight = value.new_full((1,), float(self.units(len(batch))))
        return {self.kind: Term(value, weight, unit="pair", scale=self.weight)}


def _found(pairs: Pairs, student: Sequence[Layer], teacher: Sequence[Layer]) -> Iterator[Pair]:
    if pairs == "penultimate":
        ours, theirs = (
            penultimate(side, owner=owner)
            for side, owner in ((student, "the student"), (teacher, "the teacher"))
        )
        yield Pair(student=ours, teacher=theirs)
    elif isinstance(pairs, str):
        found = (
            paired_stages(student, teacher)
            if pairs in ("stages", "last")
            else _attention(pairs, student, teacher)
        )
        for one, other in found[-1:] if pairs == "last" else found:
            yield Pair(student=one, teacher=other)
    else:
        for pair in pairs:
            yield from _matched(pair, student, teacher)


def _attention(makes: str, student: Sequence[Layer], teacher: Sequence[Layer]) -> list[tuple[str, str]]:
    ours, theirs = attention(student, makes), attention(teacher, makes)
    if not ours or not theirs:
        raise MethodError(
            f"pairs is {makes!r}, and the student has {len(ours)} layers that make {makes} and the teacher "
            f"{len(theirs)}, expected attention on both sides. Compare stages, or name the layers."
        )
    return by_depth(ours, theirs)


def _matched(pair: Pair, student: Sequence[Layer], teacher: Sequence[Layer]) -> Iterator[Pair]:
    ours = places(student, pair.student, owner="the student")
    theirs = places(teacher, pair.teacher, owner="the teacher")
    if len(ours) != len(theirs):
        raise MethodError(
            f"The pair {pair.student!r} and {pair.teacher!r} names {len(ours)} layers of the student and "
            f"{len(theirs)} of the teacher, expected as many. Name them one by one."
        )
    for one, other in zip(ours, theirs, strict=True):
        yield Pair(student=one, teacher=other)
