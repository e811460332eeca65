"""A model cut at a layer: what comes before it, and what comes after."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from limbeck.errors import ModelError
from limbeck.models.architecture import Network


def front(model: nn.Module, place: str) -> nn.Sequential:
    """The part of a model up to a layer, that layer included. The layers are shared with the model.

    Args:
        model: One whose layers run one after another: a :class:`Network`, a ``torch.nn.Sequential``, or these inside
            each other.
        place: Path of a layer's output.

    Raises:
        ModelError: If the model is another, or the layer lies inside one that does more than run its parts in turn.
    """
    return nn.Sequential(*_cut(model, place, type(model).__name__)[0])


def rest(model: nn.Module, place: str) -> nn.Sequential:
    """The part of a model after a layer, as a copy of its own.

    Args:
        model: As for :func:`front`.
        place: Path of a layer's output.

    Raises:
        ModelError: As for :func:`front`.
    """
    return copy.deepcopy(nn.Sequential(*_cut(model, place, type(model).__name__)[1]))


def _cut(model: nn.Module, place: str, owner: str) -> tuple[list[nn.Module], list[nn.Module]]:
    first, _, inside = place.partition(".")
    parts = _in_turn(model)
    if parts is None or first not in parts:
        raise ModelError(
            f"{owner} cannot be cut at {place!r}: only models whose layers run one after another can (a family of "
            "Limbeck's, or torch.nn.Sequential). Name the output of such a layer."
        )
    names = list(parts)
    at = names.index(first)
    before, here, after = list(parts.values())[:at], parts[first], list(parts.values())[at + 1 :]
    if not inside:
        return [*before, here], after
    head, tail = _cut(here, inside, owner)
    return [*before, *head], [*tail, *after]


def _in_turn(model: nn.Module) -> dict[str, nn.Module] | None:
    """A model's parts in the order in which they run, if it does nothing else; the first name leads to the path."""
    if isinstance(model, (Network, nn.Sequential)):
        return dict(model.named_children())
    return None


class Chain(nn.Module):
    """Modules that run one after another, under names of their own."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, inputs: Tensor) -> Tensor:
        """What the last one makes of what the others made."""
        answer = inputs
        for part in self.children():
            answer = part(answer)
        return answer
