"""Mistakes that no field shows alone: parts of a recipe that contradict each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from limbeck.data.config import AnyData, Digits, FashionMNIST, ImageFolder
from limbeck.methods import CE, Method
from limbeck.methods.algebra import parts
from limbeck.methods.wrapping import leaves
from limbeck.recipe.answering import Conflict, folds, trained_or_given
from limbeck.recipe.keeping import kind_of
from limbeck.recipe.lines import Path, dotted
from limbeck.recipe.training import Cosine, Training
from limbeck.types import Few

if TYPE_CHECKING:
    from limbeck.recipe.schema import Recipe


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
        *_kept(recipe),
        *_assistants(recipe),
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
    yield from _share(("training",), recipe.training, recipe.data)
    yield from _drawn(("training",), recipe.training, recipe.method)
    if recipe.teacher.training.labelled_share is not None:
        yield (
            ("teacher", "training", "labelled_share"),
            "must be null: the teacher is trained on every label",
        )


def _share(path: Path, training: Training, data: AnyData) -> Iterator[Conflict]:
    share = training.labelled_share
    if share is not None and _all_labelled(data):
        yield (
            (*path, "labelled_share"),
            f"must be null where every sample's label is given (data.labelled is 'all'), got {share:g}; "
            "remove it, or set data.labelled to a number of samples",
        )


def _drawn(path: Path, training: Training, method: Method) -> Iterator[Conflict]:
    if method.reads.labels != "none" and training.labelled_share == 0:
        yield (
            (*path, "labelled_share"),
            "must be greater than 0 for a method that reads labels, got 0; null draws from all samples alike",
        )


def _all_labelled(data: AnyData) -> bool:
    """Whether no sample can be without a label; files and functions of the user's may hold such samples."""
    complete = isinstance(data, (FashionMNIST, Digits)) or (
        isinstance(data, ImageFolder) and data.unlabelled_folder is None
    )
    return complete and data.labelled == "all"


def _teacher(recipe: Recipe) -> Iterator[Conflict]:
    yield from _distils(("method",), recipe.method)
    yield from folds(recipe)
    yield from trained_or_given(recipe.teacher)


def _distils(path: Path, method: Method) -> Iterator[Conflict]:
    if method.reads.sequences:
        yield (
            path,
            "reads logits in every frame of a sequence, and a recipe's data have one label a sample; use it from "
            "Python, with limbeck.distilling or limbeck.training.train, or take kd",
        )
    if all(leaf.family == CE.family for leaf in leaves(method)):
        yield (
            path,
            "only fits labels, so nothing is distilled; add kd, as in {kd: {temperature: 2}, ce: {}}",
        )


def _kept(recipe: Recipe) -> Iterator[Conflict]:
    """What is stored of the answers must do for every method that reads them."""
    held = kind_of(recipe.teacher.keep)
    few = held.few(0)
    if recipe.teacher.view == "same":
        for name, given in (("keep", few), ("keep_taps", recipe.teacher.keep_taps)):
            if given is not None:
                yield (
                    ("teacher", name),
                    "has no effect with view: same, where nothing is stored; remove it, or set teacher.view",
                )
        return
    if few is None:
        return
    methods = [recipe.method, *(each.method for each in recipe.assistants if each.method is not None)]
    for method in methods:
        if (
            method.reads.inside and recipe.teacher.keep_taps is None
        ):  # the teacher itself is asked while the student trains
            continue
        if not _do(few, method):
            wanting = [part for part in parts(method) if not _do(few, part)] or [method]
            reads = " and ".join(f"{part.kind} reads {part.reads.few or 'whole logits'}" for part in wanting)
            cure = (
                "or that many"
                if all(part.reads.few for part in wanting)
                else "or compare with top-k or sampled"
            )
            yield (
                ("teacher", "keep"),
                f"is {held.kind}, which keeps {few} of each answer, but {reads}; keep float16, {cure}",
            )
    if "pseudo-labels" in recipe.controls and not few.likeliest:
        yield (
            ("controls",),
            f"must not hold 'pseudo-labels' where teacher.keep is {held.kind}, which does not say which class is the "
            "likeliest; remove it, or keep top-k-sampled",
        )


def _do(few: Few, method: Method) -> bool:
    reads = method.reads
    return not reads.teacher or (reads.few is not None and few.does_for(reads.few))


def _assistants(recipe: Recipe) -> Iterator[Conflict]:
    for number, assistant in enumerate(recipe.assistants):
        place: Path = ("assistants", number)
        path: Path = ("training",)
        if assistant.training is not None:
            path = (*place, "training")
            yield from _training(path, assistant.training)
            yield from _share(path, assistant.training, recipe.data)
        yield from _drawn(path, assistant.training or recipe.training, assistant.method or recipe.method)
        if assistant.method is not None:
            yield from _distils((*place, "method"), assistant.method)
    if "direct" in recipe.controls and not recipe.assistants:
        yield (
            ("controls",),
            "must not hold 'direct' without assistants: the student learns from the teacher itself already; "
            "remove it, or add assistants",
        )


def _augmentation(recipe: Recipe) -> Iterator[Conflict]:
    given = {("augmentation",): recipe.augmentation, ("teacher", "augmentation"): recipe.teacher.augmentation}
    changing = {path: one for path, one in given.items() if one is not None and one.changes}
    if recipe.preprocessing.kind != "image":
        for path in changing:
            yield path, f"is for images, but preprocessing.kind is {recipe.preprocessing.kind!r}; remove it"
    if recipe.teacher.view != "clean":
        yield from _views(recipe, augmented=("augmentation",) in changing)


def _views(recipe: Recipe, *, augmented: bool) -> Iterator[Conflict]:
    """Views that the teacher is asked about must be what the student sees, with every tuning choice."""
    view = recipe.teacher.view
    wish = "for what the student sees" if isinstance(view, str) else f"for {view.views} views"
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
            f"asks {wish}, but the student's samples are not augmented; set augmentation, or view: clean",
        )
