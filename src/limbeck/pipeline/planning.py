"""The plan stage: how this machine is used, measured once for a kind of work and then frozen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

import torch

from limbeck.evaluation import hardware
from limbeck.export import onnx_engine
from limbeck.files import cache_home, read_json, write_json
from limbeck.pipeline.arms import student_arms, teacher_arm
from limbeck.pipeline.choosing import described as way
from limbeck.pipeline.context import Context
from limbeck.pipeline.events import Event, Noted
from limbeck.recipe import Execution, Plan
from limbeck.threads import cores
from limbeck.training import measure_plan
from limbeck.training.products import product_errors
from limbeck.types import digest

VERSION: Final = 3


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
    plan = Plan.model_validate(record["plan"])
    yield Noted("plan", described(plan))
    if record["pinned"] and (sentence := _inexact(plan)):
        yield Noted("plan", sentence, warning=True)


def described(plan: Plan) -> str:
    """A plan in one line."""
    side = f"{plan.workers} trainings side by side" if plan.workers > 1 else "one training at a time"
    return (
        f"students {_computed(plan.student)}, {side}; teacher {_computed(plan.teacher)}; answers "
        f"{way(plan.label)}, {plan.label_batch_examples} at once"
    )


def _computed(execution: Execution) -> str:
    """An execution in a few words; what is as usual goes without saying."""
    words: list[str] = [execution.precision, execution.layout]
    words += ["medium products"] if execution.matmul == "medium" else []
    words += ["compiled"] if execution.compile else []
    return f"{' '.join(words)}, {execution.threads} thread{'s' if execution.threads > 1 else ''}"


def _inexact(plan: Plan) -> str | None:
    """A sentence where a pinned plan asks for products that are not fp32's on this processor."""
    works = {"teacher": plan.teacher, "label": plan.label, "student": plan.student}
    asking = [f"plan.{work}.matmul" for work, execution in works.items() if execution.matmul == "medium"]
    if not asking or (found := product_errors()).fp32:
        return None
    return (
        f"{' and '.join(asking)} is medium, and on this processor that errs by {found.medium:.1g} where fp32 errs by "
        f"{found.highest:.1g}. Say highest for fp32, or bf16 if you mean it"
    )


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
        asked_examples=_questions(context),
        engine=onnx_engine,
    )
    timings = [{**asdict(timing), "execution": timing.execution.model_dump()} for timing in measured.timings]
    return {
        "plan": measured.plan.model_dump(mode="json"),
        "products": {**asdict(measured.products), "fp32": measured.products.fp32},
        "timings": timings,
        "seconds": measured.seconds,
        "hardware": hardware(),
    }


def _questions(context: Context) -> int:
    """What the teacher is asked about in all, where its answers are stored."""
    return len(context.splits.train) * (context.views or 1)


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
        "asked": _questions(context),
    }
