"""A plain multilayer perceptron."""

from __future__ import annotations

import itertools
import math
from typing import Literal

from pydantic import PositiveInt
from torch import nn

from limbeck.models.architecture import Architecture, Network, scaled


class MLP(Architecture):
    """Fully connected layers with batch normalisation and ReLU, on the flattened input."""

    kind: Literal["mlp"] = "mlp"

    width: PositiveInt = 256
    """Units of each hidden layer."""

    depth: PositiveInt = 2
    """Hidden layers."""

    def build(self, shape: tuple[int, ...], classes: int) -> Network:
        """A new module that takes inputs of any shape."""
        sizes = [math.prod(shape), *[self.width] * self.depth]
        layers = [_layer(before, after) for before, after in itertools.pairwise(sizes)]
        body = {
            "flatten": nn.Flatten(),
            "layers": nn.Sequential(*layers),
            "head": nn.Linear(self.width, classes),
        }
        return Network(self, shape, classes, body)

    def shrunk(self, *, width: float, depth: float) -> MLP:
        """Fewer units, in multiples of 8, and fewer layers."""
        sizes = {
            "width": scaled(self.width, width, multiple=8),
            "depth": scaled(self.depth, depth, multiple=1),
        }
        return self.model_copy(update=sizes)


def _layer(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU())
