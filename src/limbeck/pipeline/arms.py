"""What is trained: the teacher, the student, and each control, all by the same means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from limbeck.data import Augmentation
from limbeck.errors import RunError
from limbeck.methods import CE, Method, PseudoLabel
from limbeck.methods.algebra import parts
from limbeck.models import AnyModel
from limbeck.recipe import Choice, Recipe, Training

Labels = Literal["given", "all"]
"""``given``: those that the student's maker has. ``all``: every label of the training pool."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One thing to train, apart from its seed and the tuning choice."""

    name: str
    model: AnyModel
    method: Method
    training: Training
    labels: Labels
    augmentation: Augmentation | None
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """One training of an arm."""

    arm: str
    choice: int
    seed: int

    def __str__(self) -> str:
        return f"{self.arm}.choice{self.choice}.seed{self.seed}"

    @classmethod
    def parse(cls, text: str) -> Job:
        """The job of that name."""
        arm, choice, seed = text.rsplit(".", 2)
        return cls(arm, int(choice.removeprefix("choice")), int(seed.removeprefix("seed")))


def teacher_arm(recipe: Recipe) -> Arm:
    """The teacher's own training, on every label."""
    teacher = recipe.teacher
    training = _labelled_only(teacher.training)
    return Arm("teacher", teacher.model, CE(), training, "all", teacher.augmentation, (Choice(),))


def student_arms(recipe: Recipe) -> dict[str, Arm]:
    """The student and those of its controls that are trained: equal steps, batch, seeds and tuning choices."""
    found = {"student": _student(recipe, "student", recipe.method, recipe.training, "given")}
    labelled = _labelled_only(recipe.training)
    if "no-teacher" in recipe.controls:
        found["no-teacher"] = _student(recipe, "no-teacher", CE(), labelled, "given")
    if "pseudo-labels" in recipe.controls:
        found["pseudo-labels"] = _student(
            recipe, "pseudo-labels", _hard(recipe.method), recipe.training, "given"
        )
    if "supervised" in recipe.controls and recipe.data.labelled != "all":
        found["supervised"] = _student(recipe, "supervised", CE(), labelled, "all")
    return found


def arm_of(recipe: Recipe, job: Job) -> Arm:
    """The arm that a job trains."""
    if job.arm == "teacher":
        return teacher_arm(recipe)
    arms = student_arms(recipe)
    if job.arm not in arms:
        raise RunError(f"The run trains no {job.arm!r}; it trains {', '.join(arms)}.")
    return arms[job.arm]


def _student(recipe: Recipe, name: str, method: Method, training: Training, labels: Labels) -> Arm:
    return Arm(name, recipe.student.model, method, training, labels, recipe.augmentation, recipe.tuning)


def _labelled_only(training: Training) -> Training:
    """The same with batches of labelled samples alone: others would teach it nothing."""
    return training.model_copy(update={"labelled_share": 1.0})


def _hard(method: Method) -> Method:
    """The recipe's method with the teacher's answers reduced to their largest class."""
    kept = [part for part in parts(method) if not part.reads.teacher]
    return sum(kept, PseudoLabel())
