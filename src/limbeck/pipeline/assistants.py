"""The assistants stage: the models between teacher and student, trained and asked one after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from limbeck.pipeline.arms import TEACHER, Job, assistant_arms, assistant_job
from limbeck.pipeline.context import Context
from limbeck.pipeline.events import Event, Noted
from limbeck.pipeline.fit import FitResult, fit, logged, result_of, settings_of
from limbeck.pipeline.label import ask


def train_assistants(context: Context) -> Iterator[Event]:
    """Train each assistant on the answers of the one before it, and ask it for those that the next learns from."""
    for job in assistant_jobs(context):
        yield from logged(context, fit(context, str(job)))
        yield from ask(context, job.arm, stage="assistants")
        if (result := result_of(context, job)) is not None:
            yield Noted("assistants", f"{job.arm}: {result.validation:.4f} on validation data")


def assistant_inputs(context: Context) -> Any:
    """Everything that the assistants and their answers depend on, known before the first is trained."""
    trainings = [settings_of(context, job) for job in assistant_jobs(context)]
    return [trainings, context.targets_digest(TEACHER), context.label_inputs]


def assistants_trained(context: Context) -> bool:
    """Whether every assistant is trained on the answers that are there now, and was asked for its own."""
    return all(
        result_of(context, job) is not None and context.folder.targets(job.arm).exists()
        for job in assistant_jobs(context)
    )


def assistant_results(context: Context) -> list[FitResult]:
    """What their trainings reached."""
    results = [result_of(context, job) for job in assistant_jobs(context)]
    return [result for result in results if result is not None]


def assistant_jobs(context: Context) -> list[Job]:
    """The one training of each assistant, in their order."""
    return [assistant_job(context.recipe, arm.name) for arm in assistant_arms(context.recipe)]
