"""Models between teacher and student, each distilled from the one before it (Mirzadeh et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import field_validator
from pydantic_core import PydanticCustomError
from torch import nn

from limbeck.methods import AnyMethod
from limbeck.models.config import AnyModel
from limbeck.models.object import ObjectModel
from limbeck.recipe.training import Training
from limbeck.types import Frozen


class Assistant(Frozen):
    """A model between teacher and student: it learns from the one before it, and answers for the one after it.

    A small student may follow a model of a size in between better than a large teacher. An assistant of the
    student's own model is a born-again generation: name it once for each generation before the student. Each is
    trained once, with the first seed and without tuning, on the labels that the student has.

    References:
        Mirzadeh, Farajtabar, Li, Levine, Matsukawa & Ghasemzadeh, `Improved Knowledge Distillation via Teacher
        Assistant <https://arxiv.org/abs/1902.03393>`_, 2020. Furlanello, Lipton, Tschannen, Itti & Anandkumar,
        `Born-Again Neural Networks <https://arxiv.org/abs/1805.04770>`_, 2018.
    """

    model: AnyModel
    """What it is."""

    method: AnyMethod | None = None
    """How its answers are compared with those of the model before it; null: the recipe's method."""

    training: Training | None = None
    """How it is trained; null: as the student is."""

    @field_validator("model", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """Refuse what exists only in Python, which a run that goes on could not build again."""
        kept = isinstance(value, Mapping) and value.get("kind") == "object"
        if kept or callable(value) or isinstance(value, (nn.Module, ObjectModel)):
            name = "kind: object" if kept else getattr(value, "__name__", type(value).__name__)
            text = (
                "must be a model configuration such as Residual(width=16), or a function of yours named as "
                "PythonModel(python='package.module:function'), got {name}"
            )
            raise PydanticCustomError("assistant", "{text}", {"text": text.format(name=name)})
        return value
