"""What every family of models is: frozen data that builds modules, and modules that know that data."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from limbeck.errors import ModelError
from limbeck.types import Frozen


class Architecture(Frozen, ABC):
    """A family with its sizes chosen. Frozen data; :meth:`build` makes as many modules as are wanted."""

    kind: str
    """The family's name in a recipe."""

    @abstractmethod
    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """A new module with random weights, drawn from torch's global generator.

        Args:
            shape: One input, without the batch: ``(channels, height, width)`` or ``(features,)``.
            classes: Number of logits.

        Raises:
            ModelError: If the family cannot take inputs of that shape.
        """

    def shrunk(self, *, width: float, depth: float) -> Architecture:
        """The same family with its width and depth multiplied; see :func:`limbeck.models.shrink`."""
        raise ModelError(
            f"a model of kind {self.kind!r} has no width or depth to shrink by ({width:g}, {depth:g}). "
            "Name a smaller student yourself."
        )


class Network(nn.Module):
    """A module of one of the families: it knows its configuration, so it can be saved, rebuilt and shrunk.

    Args:
        config: What :meth:`Architecture.build` was called on.
        shape: One input, without the batch.
        classes: Number of logits.
        body: The layers by name, applied in this order. The names are what taps and ``limbeck layers`` show.
    """

    def __init__(
        self, config: Architecture, shape: tuple[int, ...], classes: int, body: dict[str, nn.Module]
    ) -> None:
        super().__init__()
        self.config = config
        self.shape = shape
        self.classes = classes
        self._order = tuple(body)
        for name, layer in body.items():
            self.add_module(name, layer)

    def forward(self, inputs: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch classes"]:
        """Logits for preprocessed inputs."""
        answer = inputs
        for name in self._order:
            answer = self.get_submodule(name)(answer)
        return answer


def image_channels(kind: str, shape: tuple[int, ...]) -> int:
    """The channels of an image's shape.

    Raises:
        ModelError: If ``shape`` is not ``(channels, height, width)``.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise ModelError(
            f"a model of kind {kind!r} takes images [channels, height, width], "
            f"but the data gives {list(shape)}. Use `kind: mlp` or `kind: linear` for plain features."
        )
    return shape[0]


def scaled(size: int, factor: float, *, multiple: int) -> int:
    """``size * factor`` rounded to a multiple; at least one multiple, or ``size`` where that is less."""
    return max(round(size * factor / multiple) * multiple, min(multiple, size))
