"""What a store's answers are answers to. Another key is another store."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import PositiveInt, model_validator

from limbeck.data.preprocessing import Preprocessing
from limbeck.data.source import Source
from limbeck.data.views import Augmentation
from limbeck.types import Frozen, Teacher, digest

Dtype = Literal["float16", "float32"]


class FixedViews(Frozen):
    """The teacher sees what the student sees: ``views`` seeded augmentations of each sample."""

    views: PositiveInt
    """How many, numbered from 0."""

    seed: int
    """The view seed."""

    augmentation: Augmentation
    """What is done to a sample in a view."""

    @model_validator(mode="after")
    def _changes(self) -> FixedViews:
        if not self.augmentation.changes:
            raise ValueError(
                "the augmentation changes nothing, so every view is the clean one; use the view 'clean'"
            )
        return self


class StoreKey(Frozen):
    """Who was asked, about what, and how the answers are kept."""

    teacher: str
    """Digest of the teacher."""

    data: str
    """Digest of the pool of samples."""

    preprocessing: str
    """Digest of the preprocessing."""

    view: Literal["clean"] | FixedViews = "clean"
    """Which augmentations of each sample the teacher saw."""

    dtype: Dtype = "float16"
    """Number format of the answers on disk."""

    classes: PositiveInt
    """Logits an answer."""

    execution: str = ""
    """How the teacher is computed: a digest of the plan's part, or nothing if the last bits may differ."""

    @property
    def views(self) -> int:
        """Answers a sample."""
        return 1 if self.view == "clean" else self.view.views

    @property
    def digest(self) -> str:
        """The name of the store's folder."""
        return digest(self)


_CURES: Final = {
    "teacher": "its weights, its code, its version or its behaviour changed",
    "data": "samples, labels or classes were added, removed or changed",
    "preprocessing": "the inputs are prepared in another way",
    "view": "the teacher saw other augmentations",
    "dtype": "the answers are kept in another number format",
    "classes": "the teacher answers for other classes",
    "execution": "the teacher was computed in another number format, layout, batch size or thread count",
}


def store_key(
    teacher: Teacher,
    source: Source,
    preprocessing: Preprocessing,
    *,
    view: Literal["clean"] | FixedViews = "clean",
    dtype: Dtype = "float16",
    execution: str = "",
) -> StoreKey:
    """The key of a teacher's answers about a pool of samples.

    Args:
        teacher: Live or stored.
        source: The pool.
        preprocessing: Fitted.
        view: ``clean``, or the fixed augmentations.
        dtype: Of the answers on disk.
        execution: A digest of how the teacher is computed; empty if that does not matter.
    """
    return StoreKey(
        teacher=teacher.digest,
        data=source.digest,
        preprocessing=digest(preprocessing),
        view=view,
        dtype=dtype,
        classes=teacher.offer.classes,
        execution=execution,
    )


def differences(held: StoreKey, asked: StoreKey) -> list[str]:
    """One sentence for each part in which two keys differ: what is held, what is asked for, what it means."""
    there, here = held.model_dump(mode="json"), asked.model_dump(mode="json")
    return [
        f"{part} is {there[part] or 'none'} in the store and {here[part] or 'none'} is asked for ({meaning})"
        for part, meaning in _CURES.items()
        if there[part] != here[part]
    ]
