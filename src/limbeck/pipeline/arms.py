"""What is trained: the teacher, its assistants, the student, and each control, all by the same means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from limbeck.data import Augmentation
from limbeck.errors import RunError
from limbeck.methods import CE, Method, PseudoLabel
from limbeck.methods.wrapping import leaves
from limbeck.models.ensemble import TeacherModel
from limbeck.recipe import Choice, Recipe, Training

TEACHER: Final = "teacher"

Labels = Literal["given", "all"]
"""``given``: those that the student's maker has. ``all``: every label of the training pool."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One thing to train, apart from its seed and the tuning choice."""

    name: str
    model: TeacherModel
    method: Method
    training: Training
    labels: Labels
    augmentation: Augmentation | None
    choices: tuple[Choice, ...]
    answerer: str = TEACHER
    """Who answers where its method asks: the teacher, or one of the assistants."""
    fold: int | None = None
    """Of a teacher that answers for one fold of the samples: which, from 0. It is not trained on them."""

    @property
    def teaches(self) -> bool:
        """Whether it is the teacher's model that is trained, on all samples or without a fold of them."""
        return self.name == TEACHER or self.fold is not None


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
    return Arm(TEACHER, teacher.model, CE(), training, "all", teacher.augmentation, (Choice(),))


def fold_arms(recipe: Recipe) -> tuple[Arm, ...]:
    """The teachers that each answer for one fold, trained as the teacher is, without that fold."""
    teacher = teacher_arm(recipe)
    folds = range(recipe.teacher.folds or 0)
    return tuple(replace(teacher, name=f"{TEACHER}-fold-{fold + 1}", fold=fold) for fold in folds)


def fold_jobs(recipe: Recipe) -> list[Job]:
    """The one training of each fold's teacher."""
    return [Job(arm.name, 0, 0) for arm in fold_arms(recipe)]


def assistant_arms(recipe: Recipe) -> tuple[Arm, ...]:
    """The assistants in their order, each learning from the one before it and the first from the teacher."""
    names = [f"assistant-{number}" for number in range(1, len(recipe.assistants) + 1)]
    before = [TEACHER, *names][: len(names)]
    return tuple(
        Arm(
            name,
            assistant.model,
            assistant.method or recipe.method,
            assistant.training or recipe.training,
            "given",
            recipe.augmentation,
            (Choice(),),
            answerer,
        )
        for name, answerer, assistant in zip(names, before, recipe.assistants, strict=True)
    )


def assistant_job(recipe: Recipe, name: str) -> Job:
    """The one training of an assistant."""
    return Job(name, 0, recipe.seeds[0])


def student_arms(recipe: Recipe) -> dict[str, Arm]:
    """The student and those of its controls that are trained: equal steps, batch, seeds and tuning choices."""
    found = {"student": _student(recipe, "student", recipe.method, recipe.training)}
    labelled = _labelled_only(recipe.training)
    if "no-teacher" in recipe.controls:
        found["no-teacher"] = _student(recipe, "no-teacher", CE(), labelled)
    if "pseudo-labels" in recipe.controls:
        found["pseudo-labels"] = _student(recipe, "pseudo-labels", _hard(recipe.method), recipe.training)
    if "supervised" in recipe.controls and recipe.data.labelled != "all":
        found["supervised"] = _student(recipe, "supervised", CE(), labelled, labels="all")
    if "direct" in recipe.controls:
        found["direct"] = _student(recipe, "direct", recipe.method, recipe.training, answerer=TEACHER)
    return found


def arm_of(recipe: Recipe, job: Job) -> Arm:
    """The arm that a job trains."""
    if job.arm == TEACHER:
        return teacher_arm(recipe)
    others = (*fold_arms(recipe), *assistant_arms(recipe))
    arms = {arm.name: arm for arm in others} | student_arms(recipe)
    if job.arm not in arms:
        raise RunError(f"The run trains no {job.arm!r}; it trains {', '.join(arms)}.")
    return arms[job.arm]


def _student(
    recipe: Recipe,
    name: str,
    method: Method,
    training: Training,
    *,
    labels: Labels = "given",
    answerer: str | None = None,
) -> Arm:
    """The student's model, trained in some way; whom it asks is the last assistant, unless said otherwise."""
    last = [TEACHER, *(arm.name for arm in assistant_arms(recipe))][-1]
    return Arm(
        name,
        recipe.student.model,
        method,
        training,
        labels,
        recipe.augmentation,
        recipe.tuning,
        answerer or last,
    )


def _labelled_only(training: Training) -> Training:
    """The same with batches of labelled samples alone: others would teach it nothing."""
    return training.model_copy(update={"labelled_share": 1.0})


def _hard(method: Method) -> Method:
    """The recipe's method with all that a teacher says reduced to its largest class."""
    kept = [leaf for leaf in leaves(method) if leaf.family == CE.family]
    return sum(kept, PseudoLabel())
