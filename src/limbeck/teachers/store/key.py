"""What a store's answers are answers to. Another key is another store."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import NonNegativeInt, PositiveInt, model_validator

from limbeck.data.preprocessing import Preprocessing
from limbeck.data.source import Source
from limbeck.data.views import Augmentation
from limbeck.errors import StoreError
from limbeck.teachers.store.keeping import Keep, keep_of
from limbeck.teachers.store.kinds import Kind
from limbeck.types import Frozen, Teacher, digest

FORMAT: Final = 4
"""Of the files of a store; changes whenever an older Limbeck could not read a newer store, or the other way round.

It is part of a store's name, so that an upgrade asks anew beside the older store instead of stumbling over it.
"""


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

    keep: Keep = Keep()
    """What is kept of each answer: its kind, its number format, and which taps."""

    classes: NonNegativeInt
    """Numbers that the teacher gives an example: logits, values, or the width of an embedding; 0 for text."""

    folds: NonNegativeInt = 0
    """Of how many folds each is answered for by a teacher that was not trained on it; 0: one teacher for all."""

    execution: str = ""
    """How the teacher is computed: a digest of the plan's part, or nothing if the last bits may differ."""

    @property
    def views(self) -> int:
        """Answers a sample."""
        return 1 if self.view == "clean" else self.view.views

    @property
    def digest(self) -> str:
        """The name of the store's folder: of the key and the format."""
        return digest({"format": FORMAT, "key": self.model_dump(mode="json")})


_CURES: Final = {
    "teacher": "its weights, its code, its version or its behaviour changed",
    "data": "samples, labels or classes were added, removed or changed",
    "preprocessing": "the inputs are prepared in another way",
    "view": "the teacher saw other augmentations",
    "keep": "something else is kept of the answers",
    "classes": "the teacher answers for other classes",
    "folds": "other teachers answer for the samples",
    "execution": "the teacher was computed in another number format, layout, batch size or thread count",
}


def store_key(
    teacher: Teacher,
    source: Source,
    preprocessing: Preprocessing,
    *,
    view: Literal["clean"] | FixedViews = "clean",
    keep: Keep | Kind | str = "float16",
    execution: str = "",
) -> StoreKey:
    """The key of a teacher's answers about a pool of samples.

    Args:
        teacher: Live or stored.
        source: The pool.
        preprocessing: Fitted.
        view: ``clean``, or the fixed augmentations.
        keep: What is kept of each answer: a number format for all logits (``float32``, ``float16``, ``int8``), a
            kind such as ``TopKAnswers(k=32)``, or a :class:`~limbeck.teachers.store.keeping.Keep` with taps.
        execution: A digest of how the teacher is computed; empty if that does not matter.

    Raises:
        StoreError: If the teacher itself answers with a few classes only.
    """
    if teacher.offer.few is not None:
        raise StoreError(
            f"The teacher answers with {teacher.offer.few} only, and a store is made from whole answers. Ask the "
            "model itself."
        )
    return StoreKey(
        teacher=teacher.digest,
        data=source.digest,
        preprocessing=digest(preprocessing),
        view=view,
        keep=keep_of(keep),
        classes=teacher.offer.classes,
        folds=teacher.offer.folds,
        execution=execution,
    )


def differences(held: StoreKey, asked: StoreKey) -> list[str]:
    """One sentence for each part in which two keys differ: what is held, what is asked for, what it means."""
    there, here = held.model_dump(mode="json"), asked.model_dump(mode="json")
    return [
        f"{part} is {_short(there[part])} in the store and {_short(here[part])} is asked for ({meaning})"
        for part, meaning in _CURES.items()
        if there[part] != here[part]
    ]


def _short(value: Any) -> str:
    """A part of a key for a sentence: what is kept in a few words."""
    if not isinstance(value, dict) or "answers" not in value:
        return str(value or "none")
    kind = dict(value["answers"])
    settings = ", ".join(f"{name} {held}" for name, held in kind.items() if name != "kind")
    taps = "".join(f" with {tap['name']} ({tap['dtype']})" for tap in value["taps"])
    return f"{kind['kind']} ({settings}){taps}"
