"""What methods that remember something share: finding their state again, and writing rows into a bank."""

from __future__ import annotations

from typing import TypeVar

from jaxtyping import Bool, Int
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.methods.base import Method

State = TypeVar("State", bound=nn.Module)


def kept(method: Method, state: nn.Module | None, kind: type[State]) -> State:
    """The state that the method's ``init`` made.

    Raises:
        MethodError: If it is none, or another method's.
    """
    if not isinstance(state, kind):
        raise MethodError(
            f"{type(method).__name__} got {type(state).__name__} for its state, expected the {kind.__name__} that "
            "its init made. Call init before the first step, and give what it returns to every loss."
        )
    return state


def last_of_each(slots: Int[Tensor, " rows"]) -> Bool[Tensor, " rows"]:
    """Which rows are written where several go to one slot: the last of them, on every device."""
    same = slots[:, None] == slots[None, :]
    return ~same.triu(1).any(1)
