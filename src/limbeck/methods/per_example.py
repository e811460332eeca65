"""Modifiers that treat the examples of a batch differently: the terms inside must have one unit an example."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.methods.base import Method, Traced
from limbeck.methods.wrapping import Modifier, weighted
from limbeck.types import Batch, Outputs, Terms


class PerExample(Modifier):
    """A modifier of terms that have one value an example; others are refused."""

    def init(self, traced: Traced) -> nn.Module | None:
        _check_units(self, self.of.weights(traced.teacher, traced.batch), traced.batch)
        return super().init(traced)

    def changed(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None
    ) -> Terms:
        terms = super().changed(student, teacher, batch, state)
        _check_units(self, {name: term.values for name, term in terms.items()}, batch)
        return terms


class Weighing(PerExample):
    """One that multiplies the weight of each example, so that only the balance between them changes."""

    @abstractmethod
    def each(self, teacher: Outputs | None, batch: Batch) -> Float[Tensor, " batch"]:
        """One weight an example."""

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        each = self.each(teacher, batch)
        return {name: given * each for name, given in self.of.weights(teacher, batch).items()}

    def changed(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None
    ) -> Terms:
        terms = super().changed(student, teacher, batch, state)
        return weighted(terms, self.weights(teacher, batch))


def _check_units(method: Method, units: Mapping[str, Tensor], batch: Batch) -> None:
    """See that terms have one unit an example.

    Args:
        method: The modifier that weighs examples.
        units: The values or the weights of each term.
        batch: What they belong to.

    Raises:
        MethodError: If a term has other units, or the answers are sequences.
    """
    if method.reads.sequences:
        raise MethodError(
            f"{type(method).__name__} weighs examples by one answer each, and the method inside reads logits in "
            "every frame of a sequence. Put that beside the modifier, not inside."
        )
    for name, unit in units.items():
        if unit.shape != (len(batch),):
            raise MethodError(
                f"{type(method).__name__} weighs examples, and the term {name!r} has values of the shape "
                f"{list(unit.shape)} for {len(batch)} examples. Put its method beside the modifier, not inside."
            )
