"""The models that a recipe can name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from limbeck.models.architecture import Architecture
from limbeck.models.linear import Linear
from limbeck.models.mlp import MLP
from limbeck.models.object import ObjectModel
from limbeck.models.python import PythonModel
from limbeck.models.residual import Residual
from limbeck.models.separable import Separable
from limbeck.models.vit import ViT


def kind_of(value: Any) -> str | None:
    """The kind of a model or of what a recipe says about one; none where it says none."""
    if isinstance(value, Architecture):
        return value.kind
    if isinstance(value, Mapping):
        kind = value.get("kind", "python" if "python" in value else None)
        return kind if isinstance(kind, str) else None
    return None


Families = (
    Annotated[Linear, Tag("linear")]
    | Annotated[MLP, Tag("mlp")]
    | Annotated[ObjectModel, Tag("object")]
    | Annotated[PythonModel, Tag("python")]
    | Annotated[Residual, Tag("residual")]
    | Annotated[Separable, Tag("separable")]
    | Annotated[ViT, Tag("vit")]
)
"""Each model by its kind."""

AnyModel = Annotated[Families, Discriminator(kind_of)]
"""A model in a recipe: ``kind`` says which family, and ``python:`` alone names a function of the user's."""


def kinds() -> tuple[str, ...]:
    """Every ``kind`` that a recipe can name."""
    return ("linear", "mlp", "python", "residual", "separable", "vit")
