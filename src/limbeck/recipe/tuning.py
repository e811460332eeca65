"""The small list of choices that student and controls are tuned by, alike."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, NonNegativeFloat, PositiveFloat

from limbeck.data.views import Augmentation
from limbeck.methods import CE, Method
from limbeck.methods.wrapping import mapped
from limbeck.recipe.training import Training
from limbeck.types import Frozen


class Choice(Frozen):
    """What one attempt changes; what is null stays as the recipe has it."""

    learning_rate: PositiveFloat | None = None
    """The optimizer's."""

    weight_decay: NonNegativeFloat | None = None
    """The optimizer's."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Of every cross-entropy on labels in the method."""

    augmented: bool | None = None
    """False: without the recipe's augmentation, which a short training may not repay."""

    def views(self, augmentation: Augmentation | None) -> Augmentation | None:
        """The augmentation with this choice made."""
        return None if self.augmented is False else augmentation

    def apply(self, training: Training, method: Method) -> tuple[Training, Method]:
        """The training and the method with this choice made."""
        changed: dict[str, Any] = {
            name: value
            for name in ("learning_rate", "weight_decay")
            if (value := getattr(self, name)) is not None
        }
        optimizer = training.optimizer.model_copy(update=changed)
        return training.model_copy(update={"optimizer": optimizer}), self._smoothed(method)

    def _smoothed(self, method: Method) -> Method:
        if self.label_smoothing is None:
            return method
        changed = {"label_smoothing": self.label_smoothing}
        return mapped(method, lambda leaf: leaf.model_copy(update=changed) if isinstance(leaf, CE) else leaf)
