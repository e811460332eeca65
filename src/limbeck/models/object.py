"""A model that exists only in Python: a recipe can say what it was, but not build it again."""

from __future__ import annotations

from typing import Literal

from torch import nn

from limbeck.errors import ModelError
from limbeck.models.architecture import Architecture


class ObjectModel(Architecture):
    """Stands in a resolved recipe for a module or factory that was passed in Python; not rebuildable."""

    kind: Literal["object"] = "object"

    name: str
    """The module's class."""

    digest: str
    """Changes with its code and, for a bare module, its weights."""

    fixed_start: bool = False
    """True for a bare module: every seed starts from a copy of it, and only the order of the data varies."""

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Refuse: there is nothing to build from.

        Raises:
            ModelError: Always.
        """
        raise ModelError(
            f"The model {self.name} was passed as a Python object, so it cannot be built from the recipe "
            f"(inputs {list(shape)}, {classes} classes). Run it from Python again, or name a function of yours with "
            "model: {python: package.module:function}."
        )
