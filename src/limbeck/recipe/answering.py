"""Mistakes in who answers: a teacher that comes trained where it must, and trains where it must."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from limbeck.models.ensemble import EnsembleModel, Member
from limbeck.models.object import ObjectModel
from limbeck.models.python import PythonModel
from limbeck.recipe.lines import Path

if TYPE_CHECKING:
    from limbeck.models.architecture import Architecture
    from limbeck.recipe.schema import Recipe, TeacherRecipe

Conflict = tuple[Path, str]


def trained_or_given(teacher: TeacherRecipe) -> Iterator[Conflict]:
    """What a teacher says about where its weights come from, and cannot be."""
    if isinstance(teacher.model, EnsembleModel):
        yield from _several(teacher, teacher.model)
    elif teacher.pretrained:
        yield from _pretrained(("teacher",), teacher.model)


def folds(recipe: Recipe) -> Iterator[Conflict]:
    """Folds are for a teacher that is trained here, and is only asked for its answers."""
    count = recipe.teacher.folds
    if count is None:
        return
    path = ("teacher", "folds")
    if recipe.teacher.given or isinstance(recipe.teacher.model, ObjectModel):
        yield (
            path,
            f"must be null where the teacher comes trained, got {count}: nothing is trained without a fold",
        )
    if recipe.teacher.keep_taps is not None:
        yield (
            path,
            f"must be null where layers are stored (teacher.keep_taps), got {count}: each fold has others",
        )
    methods = [recipe.method, *(assistant.method for assistant in recipe.assistants if assistant.method)]
    if any(method.reads.inside for method in methods):
        yield (
            path,
            f"must be null where a method reads inside the teacher, got {count}: each fold has another teacher",
        )


def _pretrained(path: Path, model: Architecture) -> Iterator[Conflict]:
    if not isinstance(model, (PythonModel, ObjectModel)):
        yield (
            (*path, "pretrained"),
            f"must be false for a model of kind {model.kind!r}, which starts untrained; give its weights instead",
        )


def _several(teacher: TeacherRecipe, model: EnsembleModel) -> Iterator[Conflict]:
    """Models that answer together come trained, each with weights of its own."""
    for name, given in (("weights", teacher.weights), ("pretrained", teacher.pretrained)):
        if given:
            yield (
                ("teacher", name),
                f"must stand with each of teacher.model.members, which have weights of their own, got {given}",
            )
    for number, member in enumerate(model.members):
        yield from _member(("teacher", "model", "members", number), member)


def _member(path: Path, member: Member) -> Iterator[Conflict]:
    if isinstance(member.model, ObjectModel):
        yield (
            (*path, "model"),
            "must not be of kind 'object', which exists only in Python; name a function of yours, as in "
            "{python: package.module:function}",
        )
    elif member.pretrained:
        yield from _pretrained(path, member.model)
    elif not member.given:
        yield (
            (*path, "weights"),
            "must name a file: models that answer together come trained. A function of yours that loads its weights "
            "itself is pretrained: true",
        )
