"""The baseline and distil stages: student and controls train under one schedule, choices on validation data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from limbeck.errors import RunError
from limbeck.files import write_json
from limbeck.models import Architecture, save_student
from limbeck.pipeline.answering import student_of
from limbeck.pipeline.arms import Arm, Job, student_arms
from limbeck.pipeline.context import Context
from limbeck.pipeline.events import Event, Noted
from limbeck.pipeline.fit import FitResult, fit, logged, result_of
from limbeck.pipeline.pool import Pool
from limbeck.recipe.schema import Recipe


@dataclass(frozen=True, slots=True)
class Trained:
    """An arm after training: its chosen tuning, a result for each seed, and everything that was tried."""

    arm: Arm
    choice: int
    seeds: tuple[tuple[Job, FitResult], ...]
    tried: tuple[tuple[Job, FitResult], ...]

    @property
    def best(self) -> Job:
        """The seed to ship: the best on validation data (the first of equals)."""
        return max(self.seeds, key=lambda pair: pair[1].validation)[0]

    @property
    def cpu_seconds(self) -> float:
        """What all its trainings cost."""
        return sum(result.cpu_seconds for _, result in {**dict(self.tried), **dict(self.seeds)}.items())


def train_students(context: Context, names: Sequence[str]) -> Iterator[Event]:
    """Train every seed of some arms, each with the tuning choice that did best for it on validation data.

    The first seed trains once with every choice; the other seeds follow with the arm's best one.

    Args:
        context: The run, with its teacher's answers stored.
        names: Which arms.

    Yields:
        Progress of every training.
    """
    arms = [student_arms(context.recipe)[name] for name in names]
    if context.objects.travel and context.device.type == "cpu":
        yield from _side_by_side(context, arms)
    else:
        yield from _in_turn(context, arms)


def trained(context: Context, name: str) -> Trained:
    """What an arm's finished trainings found.

    Raises:
        RunError: If one is missing.
    """
    arm = student_arms(context.recipe)[name]
    first = context.recipe.seeds[0]
    tried = [(job, _result(context, job)) for job in _tuning_jobs(arm, first)]
    choice = max(tried, key=lambda pair: pair[1].validation)[0].choice
    jobs = [Job(name, choice, seed) for seed in context.recipe.seeds]
    return Trained(arm, choice, tuple((job, _result(context, job)) for job in jobs), tuple(tried))


def arm_names(recipe: Recipe) -> list[str]:
    """The arms that are trained for a student, the controls first."""
    return sorted(student_arms(recipe), key=lambda name: name == "student")


def jobs_of(context: Context, name: str) -> list[Job]:
    """Every training that an arm might need: each choice with the first seed, and the other seeds of each."""
    arm, seeds = student_arms(context.recipe)[name], context.recipe.seeds
    return [Job(name, choice, seed) for choice in range(len(arm.choices)) for seed in seeds]


def ship(context: Context) -> Iterator[Event]:
    """The distil stage: leave the best seed's student in ``student/``, by its validation metric."""
    yield from train_students(context, ["student"])
    found = trained(context, "student")
    module = student_of(context, found.best)
    save_student(
        context.folder.student,
        module,
        config=rebuildable(context, found.arm),
        shape=context.shape,
        classes=len(context.classes),
    )
    preprocessing = {**context.preprocessing.model_dump(mode="json"), "classes": list(context.classes)}
    write_json(context.folder.student / "preprocessing.json", preprocessing)
    metric = dict(found.seeds)[found.best].validation
    yield Noted("distil", f"seed {found.best.seed} ships: {metric:.4f} on validation data")


def rebuildable(context: Context, arm: Arm) -> Architecture | None:
    """What builds the module that an arm ships; none where it exists only in Python, or a method added to it."""
    named = isinstance(arm.model, Architecture) and context.objects.student is None
    return arm.model if named and not arm.method.grows else None


def open_jobs(context: Context, arms: Sequence[Arm]) -> list[Job]:
    """What can be trained now: an arm's tuning, and after that its other seeds."""
    found: list[Job] = []
    for arm in arms:
        tuning = _tuning_jobs(arm, context.recipe.seeds[0])
        waiting = [job for job in tuning if result_of(context, job) is None]
        if not waiting:
            choice = max(tuning, key=lambda job: _result(context, job).validation).choice
            waiting = [Job(arm.name, choice, seed) for seed in context.recipe.seeds]
        found += [job for job in waiting if result_of(context, job) is None]
    return found


def _tuning_jobs(arm: Arm, seed: int) -> list[Job]:
    return [Job(arm.name, choice, seed) for choice in range(len(arm.choices))]


def _result(context: Context, job: Job) -> FitResult:
    result = result_of(context, job)
    if result is None:
        raise RunError(f"The training {job} is not finished. Run the same command again.")
    return result


def _in_turn(context: Context, arms: Sequence[Arm]) -> Iterator[Event]:
    while jobs := open_jobs(context, arms):
        yield from logged(context, fit(context, str(jobs[0])))


def _side_by_side(context: Context, arms: Sequence[Arm]) -> Iterator[Event]:
    jobs = open_jobs(context, arms)
    if not jobs:
        return
    workers = min(context.plan.workers, len(jobs))
    with Pool(context.folder.path, workers, context.plan.student, profile=context.profile) as pool:
        running: set[str] = set()
        while jobs or pool.busy():
            for worker, job in zip(
                pool.idle(), [job for job in jobs if str(job) not in running], strict=False
            ):
                worker.start(str(job))
                running.add(str(job))
            for reply in pool.replies("train"):
                if isinstance(reply, str):
                    running.discard(reply)
                    _refuse_foreign(context, Job.parse(reply))
                    jobs = open_jobs(context, arms)
                else:
                    yield from logged(context, [reply])


def _refuse_foreign(context: Context, job: Job) -> None:
    """A worker that reads other inputs than this process would train the same thing for ever."""
    if result_of(context, job) is None:
        raise RunError(
            f"{job} was trained from other inputs than this run began with: code, data or weights were changed while "
            "it ran. Run the same command again; what is still valid is kept."
        )
