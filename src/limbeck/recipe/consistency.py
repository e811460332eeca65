"""Mistakes that no field shows alone: parts of a recipe that contradict each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from limbeck.data.config import AnyData, Digits, FashionMNIST, ImageFolder
from limbeck.models.object import ObjectModel
from limbeck.models.python import PythonModel
from limbeck.recipe.lines import Path, dotted
from limbeck.recipe.training import Cosine, Training

if TYPE_CHECKING:
    from limbeck.recipe.schema import Recipe

Conflict = tuple[Path, str]


def conflicts(recipe: Recipe) -> list[Conflict]:
    """What contradicts what.

    Returns:
        Where it is best put right, and a message that says what is expected there.
    """
    return [
        *_repetitions(recipe),
        *_training(("training",), recipe.training),
        *([] if recipe.teacher.given else _training(("teacher", "training"), recipe.teacher.training)),
        *_labels(recipe),
        *_teacher(recipe),
        *_augmentation(recipe),
    ]


def _repetitions(recipe: Recipe) -> Iterator[Conflict]:
    lists: dict[str, Iterable[object]] = {
        "seeds": recipe.seeds,
        "controls": recipe.controls,
        "tuning": recipe.tuning,
    }
    for name, values in lists.items():
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            yield (name,), f"must not repeat anything, got {twice[0]!r} more than once"


def _training(path: Path, training: Training) -> Iterator[Conflict]:
    schedule = training.schedule
    if isinstance(schedule, Cosine) and schedule.warmup_steps >= training.steps:
        yield (
            (*path, "schedule", "warmup_steps"),
            f"must be less than {dotted(path)}.steps ({training.steps}), got {schedule.warmup_steps}",
        )
    if training.accumulation > training.batch_examples:
        yield (
            (*path, "accumulation"),
            f"must be at most batch_examples ({training.batch_examples}), got {training.accumulation}: "
            "each micro-batch needs an example",
        )


def _labels(recipe: Recipe) -> Iterator[Conflict]:
    share = recipe.training.labelled_share
    if share is not None and _all_labelled(recipe.data):
        yield (
            ("training", "labelled_share"),
            f"must be null where every sample's label is given (data.labelled is 'all'), got {share:g}; "
            "remove it, or set data.labelled to a number of samples",
        )
    if recipe.method.reads.labels != "none" and share == 0:
        yield (
            ("training", "labelled_share"),
            "must be greater than 0 for a method that reads labels, got 0; null draws from all samples alike",
        )
    if recipe.teacher.training.labelled_share is not None:
        yield (
            ("teacher", "training", "labelled_share"),
            "must be null: the teacher is trained on every label",
        )


def _all_labelled(data: AnyData) -> bool:
    """Whether no sample can be without a label; files and functions of the user's may hold such samples."""
    complete = isinstance(data, (FashionMNIST, Digits)) or (
        isinstance(data, ImageFolder) and data.unlabelled_folder is None
    )
    return complete and data.labelled == "all"


def _teacher(recipe: Recipe) -> Iterator[Conflict]:
    teacher = recipe.teacher
    if not recipe.method.reads.teacher:
        yield (
            ("method",),
            "asks no teacher, so nothing is distilled; add kd, as in {kd: {temperature: 2}, ce: {}}",
        )
    if teacher.pretrained and not isinstance(teacher.model, (PythonModel, ObjectModel)):
        yield (
            ("teacher", "pretrained"),
            f"must be false for a model of kind {teacher.model.kind!r}, which starts untrained; "
            "give its weights instead",
        )


def _augmentation(recipe: Recipe) -> Iterator[Conflict]:
    given = {("augmentation",): recipe.augmentation, ("teacher", "augmentation"): recipe.teacher.augmentation}
    changing = {path: one for path, one in given.items() if one is not None and one.changes}
    if recipe.preprocessing.kind != "image":
        for path in changing:
            yield path, f"is for images, but preprocessing.kind is {recipe.preprocessing.kind!r}; remove it"
    if recipe.teacher.view != "clean":
        yield from _views(recipe, recipe.teacher.view.views, augmented=("augmentation",) in changing)


def _views(recipe: Recipe, views: int, *, augmented: bool) -> Iterator[Conflict]:
    """Views that the teacher is asked about must be what the student sees, with every tuning choice."""
    for number, choice in enumerate(recipe.tuning):
        if choice.augmented is False:
            yield (
                ("tuning", number, "augmented"),
                "must not be false where the teacher is asked about augmented views; remove it, or set "
                "teacher.view to clean",
            )
    if not augmented:
        yield (
            ("teacher", "view"),
            f"asks for {views} views, but the student's samples are not augmented; "
            "set augmentation, or view: clean",
        )
