"""The plan stage: how this machine is used, measured once for a kind of work and then frozen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

import torch

from limbeck.evaluation import hardware
from limbeck.files import cache_home, read_json, write_json
from limbeck.pipeline.arms import student_arms, teacher_arm
from limbeck.pipeline.context import Context
from limbeck.pipeline.events import Event, Noted
from limbeck.recipe import Plan
from limbeck.training import measure_plan
from limbeck.types import digest

VERSION: Final = 1


def make_plan(context: Context) -> Iterator[Event]:
    """Leave a plan in ``plan.json``: the recipe's, or one that was measured on this machine.

    A measured plan is kept in the user's cache for the same models on the same machine, so that runs agree.
    """
    if context.recipe.plan is not None:
        record = {"plan": context.recipe.plan.model_dump(mode="json"), "pinned": True}
    else:
        kept = cache_home() / "plans" / f"{digest(work(context))}.json"
        if not kept.exists():
            write_json(kept, _measured(context))
        record = {**read_json(kept), "pinned": False}
    write_json(context.folder.plan, record)
    context.forget_plan()
    yield Noted("plan", described(Plan.model_validate(record["plan"])))


def described(plan: Plan) -> str:
    """A plan in one line."""
    student, teacher = plan.student, plan.teacher
    side = f"{plan.workers} trainings side by side" if plan.workers > 1 else "one training at a time"
    return (
        f"students {student.precision} {student.layout}, {_threads(student.threads)}, {side}; "
        f"teacher {teacher.precision} {teacher.layout}, {_threads(teacher.threads)}"
    )


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def _measured(context: Context) -> dict[str, Any]:
    student = student_arms(context.recipe)["student"]
    measured = measure_plan(
        context.factory(student),
        context.teacher_factory,
        context.shape,
        len(context.classes),
        batch_examples=student.training.batch_examples,
        teacher_batch_examples=context.recipe.teacher.training.batch_examples,
        cores=cores(),
        device=context.device,
    )
    timings = [{**asdict(timing), "execution": timing.execution.model_dump()} for timing in measured.timings]
    return {
        "plan": measured.plan.model_dump(mode="json"),
        "timings": timings,
        "seconds": measured.seconds,
        "hardware": hardware(),
    }


def work(context: Context) -> dict[str, Any]:
    """What a plan depends on."""
    if context.recipe.plan is not None:
        return {"pinned": context.recipe.plan.model_dump(mode="json")}
    return {
        "version": VERSION,
        "hardware": hardware(),
        "torch": torch.__version__,
        "shape": list(context.shape),
        "classes": len(context.classes),
        "student": context.identity(student_arms(context.recipe)["student"]),
        "teacher": context.identity(teacher_arm(context.recipe)),
        "batches": [context.recipe.training.batch_examples, context.recipe.teacher.training.batch_examples],
        "device": str(context.device),
        "cores": cores(),
    }
