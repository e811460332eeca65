"""A linear model: the trivial student that every other one has to beat."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

from limbeck.models.architecture import Architecture, Network


class Linear(Architecture):
    """Multinomial logistic regression on the flattened input."""

    kind: Literal["linear"] = "linear"

    def build(self, shape: tuple[int, ...], classes: int) -> Network:
        """A new module that takes inputs of any shape."""
        body: dict[str, nn.Module] = {"flatten": nn.Flatten(), "head": nn.Linear(math.prod(shape), classes)}
        return Network(self, shape, classes, body)
