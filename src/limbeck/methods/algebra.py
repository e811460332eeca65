"""Sums of methods, which are methods: ``KD(temperature=4) + 0.1 * CE()``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny
from torch import Tensor, nn

from limbeck.methods.base import Method, Reads, Traced
from limbeck.taps import Layer
from limbeck.types import Batch, Few, Outputs, Terms

Value = TypeVar("Value")


def _flat(methods: Any) -> Any:
    """Without sums inside; what is not a sequence is left to be refused."""
    if not isinstance(methods, (list, tuple)):
        return methods
    return tuple(
        part for method in methods for part in (parts(method) if isinstance(method, Method) else (method,))
    )


def _alike(methods: tuple[Method, ...]) -> tuple[Method, ...]:
    """Validate that the parts read answers of one kind."""
    sequences = [part for part in methods if part.reads.sequences]
    others = [part for part in methods if not part.reads.sequences]
    if sequences and others:
        raise ValueError(
            f"must not hold {type(sequences[0]).__name__}, which reads logits in every frame, beside "
            f"{type(others[0]).__name__}, which reads them once an example; leave one of them out"
        )
    return methods


class Sum(Method):
    """Several methods at once; their terms stand side by side, each divided by its own weight."""

    family: ClassVar[str] = "sum"
    paper: ClassVar[str] = ""

    kind: Literal["sum"] = "sum"
    weight: Annotated[float, Field(ge=1, le=1)] = 1.0
    """Always 1: a multiple of a sum multiplies its parts."""
    methods: Annotated[
        tuple[SerializeAsAny[Method], ...],
        BeforeValidator(_flat),
        Field(min_length=1),
        AfterValidator(_alike),
    ]
    """The parts, none of them a sum."""

    @property
    def reads(self) -> Reads:
        each = [method.reads for method in self.methods]
        return Reads(
            teacher=any(reads.teacher for reads in each),
            labels="some" if any(reads.labels == "some" for reads in each) else "none",
            inside=any(reads.inside for reads in each),
            coupled=any(reads.coupled for reads in each),
            student_taps=tuple(dict.fromkeys(name for reads in each for name in reads.student_taps)),
            teacher_taps=tuple(dict.fromkeys(name for reads in each for name in reads.teacher_taps)),
            few=_few([reads.few for reads in each if reads.teacher]),
            sequences=any(reads.sequences for reads in each),
        )

    @property
    def grows(self) -> bool:
        return any(part.grows for part in self.methods)

    def bind(self, student: Sequence[Layer], teacher: Sequence[Layer] | None) -> Sum:
        return Sum(methods=tuple(part.bind(student, teacher) for part in self.methods))

    def init(self, traced: Traced) -> nn.Module | None:
        made = {str(place): part.init(traced) for place, part in enumerate(self.methods)}
        kept = {place: module for place, module in made.items() if module is not None}
        return nn.ModuleDict(kept) if kept else None

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return _joined(part.weights(teacher, batch) for part in self.methods)

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        return _joined(
            part.loss(student, teacher, batch, _own(state, place)) for place, part in enumerate(self.methods)
        )

    def advance(self, student: nn.Module, state: nn.Module | None) -> None:
        for place, part in enumerate(self.methods):
            part.advance(student, _own(state, place))

    def deploy(self, student: nn.Module, state: nn.Module | None) -> nn.Module:
        for place, part in enumerate(self.methods):
            student = part.deploy(student, _own(state, place))
        return student

    def __mul__(self, factor: float | int) -> Sum:
        return Sum(methods=tuple(part * factor for part in self.methods))

    __rmul__ = __mul__


def plus(first: Method, second: Method) -> Sum:
    """Both at once; a sum of sums is one sum."""
    return Sum(methods=(*parts(first), *parts(second)))


def parts(method: Method) -> tuple[Method, ...]:
    """The methods that a sum consists of, or the method itself."""
    return method.methods if isinstance(method, Sum) else (method,)


def _few(each: Sequence[Few | None]) -> Few | None:
    """What does for all parts that ask the teacher; none where one of them needs whole logits, or nobody asks."""
    known = [few for few in each if few is not None]
    temperatures = {few.draw_temperature for few in known if few.draws}
    if not known or len(known) < len(each) or len(temperatures) > 1:
        return None
    return Few(max(few.likeliest for few in known), max(few.draws for few in known), *(temperatures or {1.0}))


def _own(state: nn.Module | None, place: int) -> nn.Module | None:
    return state[str(place)] if isinstance(state, nn.ModuleDict) and str(place) in state else None


def _joined(groups: Iterator[Mapping[str, Value]]) -> dict[str, Value]:
    """One mapping; the second term of a name becomes ``name_2``."""
    seen: Counter[str] = Counter()
    joined: dict[str, Value] = {}
    for group in groups:
        for name, value in group.items():
            seen[name] += 1
            joined[name if seen[name] == 1 else f"{name}_{seen[name]}"] = value
    return joined
