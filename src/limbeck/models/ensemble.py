"""Several trained models that a recipe names as one teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field, PositiveFloat, Tag
from torch import nn

from limbeck.errors import ModelError
from limbeck.models.architecture import Architecture
from limbeck.models.config import AnyModel, Families, kind_of
from limbeck.models.python import PythonModel
from limbeck.models.together import Combination, Together
from limbeck.models.weights import load_weights
from limbeck.types import Frozen


class Member(Frozen):
    """One trained model of several."""

    model: AnyModel
    """What it is."""

    weights: Path | None = None
    """Its weights, as ``teacher.weights``; null for a function of the user's that has its own."""

    pretrained: bool = False
    """The function that ``model: {python: ...}`` names returns a model that is trained already."""

    @property
    def given(self) -> bool:
        """Whether it comes trained."""
        own = self.model.weights if isinstance(self.model, PythonModel) else None
        return self.pretrained or self.weights is not None or own is not None

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The model with its weights.

        Raises:
            ModelError: If it does not fit the data, or its weights do not fit it.
        """
        module = self.model.build(shape, classes)
        if self.weights is not None:
            load_weights(module, self.weights)
        return module


class EnsembleModel(Architecture):
    """Several trained models that answer as one: by the mean of their distributions, or of their logits."""

    kind: Literal["ensemble"] = "ensemble"

    members: Annotated[tuple[Member, ...], Field(min_length=1)]
    """The models, each with its weights."""

    combine: Combination = "mean-probability"
    """``mean-probability`` averages their distributions, ``mean-logit`` their logits."""

    temperature: PositiveFloat = 1.0
    """At which distributions are averaged. Give the method's: the student then learns from the mean of what the
    members say at that temperature."""

    @property
    def name(self) -> str:
        """Its members' kinds, for reports."""
        return f"ensemble ({', '.join(member.model.kind for member in self.members)})"

    def build(self, shape: tuple[int, ...], classes: int) -> Together:
        """All members with their weights, as one module.

        Raises:
            ModelError: If some members cannot be built; it says what is wrong with each of them.
        """
        built, wrong = [], []
        for number, member in enumerate(self.members):
            try:
                built.append(member.build(shape, classes))
            except ModelError as error:
                wrong.append(f"teacher.model.members.{number}: {error}")
        if wrong:
            raise ModelError("\n".join(wrong))
        return Together(built, combine=self.combine, temperature=self.temperature)


TeacherModel = Annotated[Families | Annotated[EnsembleModel, Tag("ensemble")], Discriminator(kind_of)]
"""A teacher in a recipe: any model, or several trained ones together."""
