"""What modifiers share: a method inside a method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.methods.algebra import Sum, parts
from limbeck.methods.base import Method, Reads, Traced, answered
from limbeck.methods.clock import Clock
from limbeck.methods.kd import KD
from limbeck.taps import Layer
from limbeck.types import Batch, Outputs, Terms

_REFERENCE: Final = "limbeck.methods.AnyMethod:0"
_OWN, _INNER = "own", "of"
_describing: ContextVar[bool] = ContextVar("_describing", default=False)


def _parsed(value: Any) -> Method:
    from limbeck.methods.table import parse

    return parse(value)


def _dumped(method: Method) -> list[dict[str, Any]]:
    from limbeck.methods.table import dump

    return dump(method)


def _described(schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
    """One definition, to which every method inside a method refers."""
    from limbeck.methods.table import described

    if _describing.get():
        return {}  # the outermost, which is being described, takes this place under the same reference
    token = _describing.set(True)
    try:
        return described(handler)
    finally:
        _describing.reset(token)


class _Notation:
    """How a field that holds any method is read, written and described.

    The table of methods says it, and the table holds the modifiers, which have such a field: so it is asked when a
    field is used, not when one is declared.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _parsed,
            ref=_REFERENCE,
            serialization=core_schema.plain_serializer_function_ser_schema(_dumped),
            metadata={"pydantic_js_functions": [_described]},
        )


AnyMethod = Annotated[Method, _Notation()]
"""Any method of the table, or a sum of some, as a recipe writes it."""


class Modifier(Method):
    """A method that changes how another one compares. Its terms are those of the other, under their names."""

    family: ClassVar[str] = "modifier"

    of: Annotated[AnyMethod, Field(json_schema_extra={"default": {"kd": {}}})] = KD()
    """The method that is changed: any other, a sum of several, or another modifier."""

    @property
    def reads(self) -> Reads:
        return replace(self.of.reads, few=None)

    @property
    def grows(self) -> bool:
        return self.of.grows

    def bind(self, student: Sequence[Layer], teacher: Sequence[Layer] | None) -> Modifier:
        return self.model_copy(update={"of": self.of.bind(student, teacher)})

    def init(self, traced: Traced) -> nn.Module | None:
        made = {_OWN: self.remembers(traced), _INNER: self.of.init(self.shown(traced))}
        kept = {name: module for name, module in made.items() if module is not None}
        return nn.ModuleDict(kept) if kept else None

    def remembers(self, traced: Traced) -> nn.Module | None:
        """What the modifier itself remembers or trains; its clocks are advanced with each update."""
        return None

    def shown(self, traced: Traced) -> Traced:
        """What the inner method is shown before the first step."""
        return traced

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return self.of.weights(teacher, batch)

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        theirs = answered(self, teacher) if self.reads.teacher else teacher
        return scaled(self.changed(student, theirs, batch, state), self.weight)

    def changed(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None
    ) -> Terms:
        """The inner terms as the modifier leaves them, before they are multiplied by its weight.

        Args:
            student: As in :meth:`loss`.
            teacher: Without a graph; there wherever the modifier reads it.
            batch: As in :meth:`loss`.
            state: What :meth:`init` made.
        """
        return self.of.loss(student, teacher, batch, inner(state))

    def advance(self, student: nn.Module, state: nn.Module | None) -> None:
        remembered = own(state)
        for part in () if remembered is None else remembered.modules():
            if isinstance(part, Clock):
                part.tick()
        self.of.advance(student, inner(state))

    def deploy(self, student: nn.Module, state: nn.Module | None) -> nn.Module:
        return self.of.deploy(student, inner(state))


def inner(state: nn.Module | None) -> nn.Module | None:
    """The inner method's part of a modifier's state."""
    return _part(state, _INNER)


def own(state: nn.Module | None) -> nn.Module | None:
    """The modifier's own part of its state."""
    return _part(state, _OWN)


def leaves(method: Method) -> Iterator[Method]:
    """The methods that a sum or a modifier consists of in the end, with all the weights that multiply them."""
    for part in parts(method):
        if isinstance(part, Modifier):
            yield from (part.weight * leaf for leaf in leaves(part.of))
        else:
            yield part


def shared_temperature(method: Method) -> float | None:
    """At which the student is compared with the teacher, where all parts that have a temperature agree on it."""
    fields = [dict(leaf) for leaf in leaves(method) if leaf.reads.teacher]
    found = {float(each["temperature"]) for each in fields if "temperature" in each}
    return found.pop() if len(found) == 1 else None


def modifiers(method: Method) -> Iterator[Modifier]:
    """The modifiers in it, from the outside to the inside."""
    for part in parts(method):
        if isinstance(part, Modifier):
            yield part
            yield from modifiers(part.of)


def mapped(method: Method, change: Callable[[Method], Method]) -> Method:
    """The same sums and modifiers, with each method inside replaced."""
    if isinstance(method, Sum):
        return Sum(methods=tuple(mapped(part, change) for part in method.methods))
    if isinstance(method, Modifier):
        return method.model_copy(update={"of": mapped(method.of, change)})
    return change(method)


def scaled(terms: Terms, factor: float) -> Terms:
    """The same terms, a factor times as large."""
    return {name: replace(term, scale=term.scale * factor) for name, term in terms.items()}


def weighted(terms: Terms, weights: Mapping[str, Tensor]) -> Terms:
    """The same values, with other weights."""
    return {name: replace(term, weights=weights[name].to(term.values.dtype)) for name, term in terms.items()}


def with_logits(outputs: Outputs, change: Callable[[Tensor], Tensor]) -> Outputs:
    """The same answers with other logits, also where the model is asked again."""
    ask = outputs.ask
    return replace(
        outputs,
        dense=change(outputs.logits),
        ask=None if ask is None else lambda inputs: with_logits(ask(inputs), change),
    )


def comparing_logits(method: Method) -> Method:
    """Validate that a method compares the student's logits with the teacher's, and reads nothing else of them."""
    for leaf in leaves(method):
        if not leaf.reads.teacher or leaf.reads.inside or leaf.grows:
            raise ValueError(
                f"must compare the student's logits with the teacher's and nothing else, got {type(leaf).__name__}; "
                "put that beside the modifier, not inside"
            )
    return method


def whole_training(method: Method, traced: Traced) -> int:
    """How many steps a training has, for what goes over all of it.

    Raises:
        MethodError: In a loop of the user's own, which does not say.
    """
    if traced.pool is None:
        raise MethodError(
            f"{type(method).__name__} goes over the whole training, and a loop of your own does not say how long "
            "that is. Set its steps."
        )
    return traced.steps


def _part(state: nn.Module | None, name: str) -> nn.Module | None:
    return state[name] if isinstance(state, nn.ModuleDict) and name in state else None
