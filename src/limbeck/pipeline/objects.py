"""What a run was given as Python objects, which a recipe can name but not build."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from limbeck.data import Splits
from limbeck.models.object import ObjectModel
from limbeck.models.together import Together
from limbeck.teachers.identity import probe, teacher_digest
from limbeck.threads import threads
from limbeck.training.randomness import drawing
from limbeck.types import digest

Factory = Callable[[], nn.Module]


@dataclass(frozen=True, slots=True)
class Objects:
    """Python objects that take the place of what the recipe describes; each may be absent."""

    teacher: nn.Module | None = None
    student: nn.Module | Factory | None = None
    splits: Splits | None = None

    @property
    def travel(self) -> bool:
        """Whether another process could rebuild everything from the recipe alone."""
        return self.teacher is None and self.student is None and self.splits is None


def factory(student: nn.Module | Factory) -> Factory:
    """A student factory: a bare module gives a copy of itself each time."""
    if isinstance(student, nn.Module):
        return lambda: copy.deepcopy(student)
    return student


def described(student: nn.Module | Factory) -> ObjectModel:
    """How a recipe names a model that exists only in Python: its class, its code, and its weights."""
    example = student if isinstance(student, nn.Module) else student()
    fixed = example is student
    name = example.name if isinstance(example, Together) else type(example).__qualname__
    return ObjectModel(name=name, digest=identity(factory(student)), fixed_start=fixed)


def identity(build: Factory, shape: tuple[int, ...] | None = None) -> str:
    """What a factory makes: the source of its classes, its layers, its weights for one seed, and how it answers.

    Args:
        build: The factory.
        shape: One input, without the batch. With it the module answers a fixed probe, which also tells code apart
            that the module's classes only call.
    """
    with drawing(0):
        example = build()
    answers = torch.zeros(1, 1) if shape is None else _probed(example, shape)
    return digest([teacher_digest(example, answers, version=""), repr(example)])


def _probed(example: nn.Module, shape: tuple[int, ...]) -> torch.Tensor:
    with threads(1), torch.no_grad():
        answers = example.eval()(probe(shape))
    whole = isinstance(answers, torch.Tensor) and bool(torch.isfinite(answers).all())
    return answers.float() if whole else torch.zeros(1, 1)  # what it lacks, the check says
