"""A smaller model of the same family: the shortest way from a teacher to a student."""

from __future__ import annotations

import math

from torch import nn

from limbeck.errors import ModelError
from limbeck.models.architecture import Architecture, Network


def shrink(teacher: nn.Module | Architecture, *, width: float = 1.0, depth: float = 1.0) -> Architecture:
    """The teacher's family with fewer channels and fewer layers.

    Args:
        teacher: A module of one of Limbeck's families, or its configuration.
        width: Factor of the channels or units, in (0, 1]. Parameters and time fall with about its square.
        depth: Factor of the blocks or layers, in (0, 1]; at least one stays.

    Returns:
        A configuration: a student factory, because each seed calls its ``build``.

    Raises:
        ModelError: If the family is not known, or a factor is out of range.
    """
    for name, factor in (("width", width), ("depth", depth)):
        if not (math.isfinite(factor) and 0 < factor <= 1):
            raise ModelError(f"shrink: {name} must be greater than 0 and at most 1, got {factor!r}.")
    if isinstance(teacher, Architecture):
        return teacher.shrunk(width=width, depth=depth)
    if isinstance(teacher, Network):
        return teacher.config.shrunk(width=width, depth=depth)
    raise ModelError(
        f"shrink knows Limbeck's own families, and {type(teacher).__name__} is none of them. "
        "Pass a student of your own: any function that returns a new torch.nn.Module."
    )
