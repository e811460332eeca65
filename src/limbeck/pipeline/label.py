"""The label stage: ask the teacher, and later each assistant, about every training sample, once for all runs."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from limbeck.errors import StoreError
from limbeck.evaluation import agreement, kl_nats
from limbeck.files import write_json
from limbeck.pipeline.answering import answering_module, kept, live
from limbeck.pipeline.arms import TEACHER
from limbeck.pipeline.context import Context
from limbeck.pipeline.events import Advanced, Event, Noted
from limbeck.pipeline.predict import logits_of
from limbeck.recipe import Execution
from limbeck.teachers import LiveTeacher
from limbeck.teachers.store import FixedViews, Keep, Progress, StoreKey, store_key
from limbeck.teachers.store import label as fill
from limbeck.teachers.store.format import targets_home
from limbeck.types import digest

SAMPLE_EXAMPLES = 1024
LEAST_AGREEMENT = 0.999
LARGEST_KL_NATS = 1e-4
"""A faster number format is used where a sample of its answers is at least this close to those in fp32."""


def label(context: Context) -> Iterator[Event]:
    """Fill the target store, and leave its key and place in ``targets.json``."""
    yield from ask(context, TEACHER, stage="label")


def ask(context: Context, answerer: str, *, stage: str) -> Iterator[Event]:
    """Ask the teacher or a trained assistant about every training sample, in the way the plan says for both.

    Args:
        context: The run.
        answerer: Who is asked.
        stage: On whose behalf.
    """
    module = answering_module(context, answerer)
    execution = _execution(context, module)
    if execution != context.plan.label:
        text = f"asked in fp32: {context.plan.label.precision} answers are not close enough to them"
        yield Noted(stage, text)
    teacher = live(context, execution, answerer)
    if context.recipe.teacher.view == "same":
        asked = digest([teacher.digest, "same", execution.model_dump()])
        held: dict[str, Any] = {"key": asked, "path": None, "asked": 0, "records": 0, "bytes": 0}
        who = "the teacher" if answerer == TEACHER else answerer
        yield Noted(stage, f"nothing is stored: {who} is asked about each view during the training")
    else:
        key = targets_key(context, teacher, execution, kept(context, module, answerer))
        held = yield from _fill(context, key, teacher, answerer, stage)
    facts = {
        "teacher": teacher.digest,
        "execution": execution.model_dump(mode="json"),
        "ms_per_example": _cpu_ms(context, module, execution),
    }
    write_json(context.folder.targets(answerer), held | facts)
    context.forget_answers()


def _fill(
    context: Context, key: StoreKey, teacher: LiveTeacher, answerer: str, stage: str
) -> Generator[Event, None, dict[str, Any]]:
    """The answers about all samples in the store; where they lie, and how many were asked for."""
    began, last = time.perf_counter(), Progress(0, 0, 0)
    batch = context.plan.label_batch_examples
    for last in fill(teacher, context.splits.train, context.preprocessing, key, batch_examples=batch):
        speed = last.asked / max(time.perf_counter() - began, 1e-9)
        yield Advanced(stage, f"{answerer}'s answers", last.done, last.total, speed)
    path = targets_home(None) / key.digest
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    how = f"{last.asked:,} asked" if last.asked else "found in the cache"
    yield Noted(stage, f"{last.total:,} samples ({how}), {size / 1e6:.1f} MB, store {key.digest}")
    return {"key": key.digest, "path": str(path), "asked": last.asked, "records": last.total, "bytes": size}


def targets_whole(context: Context, answerer: str = TEACHER) -> bool:
    """Whether the answers are still there, and undamaged."""
    if not context.folder.targets(answerer).exists():
        return False
    if context.recipe.teacher.view == "same":
        return True
    try:
        context.stored_teacher(answerer)
    except StoreError:
        return False
    return True


def targets_key(context: Context, teacher: LiveTeacher, execution: Execution, keep: Keep) -> StoreKey:
    """The key of the store that holds the answers of one who is asked in this run."""
    recipe = context.recipe
    view: FixedViews | Literal["clean"] = "clean"
    if context.views is not None and recipe.augmentation is not None:
        view = FixedViews(views=context.views, seed=recipe.view_seed, augmentation=recipe.augmentation)
    computed = {**execution.model_dump(), "batch_examples": context.plan.label_batch_examples}
    return store_key(
        teacher,
        context.splits.train,
        context.preprocessing,
        view=view,
        keep=keep,
        execution=digest(computed),
    )


def _execution(context: Context, module: nn.Module) -> Execution:
    """The plan's, where a sample of the answers agrees with fp32; otherwise the same in fp32."""
    planned = context.plan.label
    if planned.precision == "fp32":
        return planned
    exact = planned.model_copy(update={"precision": "fp32"})
    answers = [_sampled(context, module, execution) for execution in (planned, exact)]
    close = agreement(*answers) >= LEAST_AGREEMENT and kl_nats(*answers) <= LARGEST_KL_NATS
    return planned if close else exact


def _sampled(context: Context, module: nn.Module, execution: Execution) -> NDArray[np.float32]:
    train = context.splits.train
    sample = train.subset(torch.arange(0, len(train), max(1, len(train) // SAMPLE_EXAMPLES)))
    return logits_of(module, sample, context.preprocessing, execution, context.device).numpy()


def _cpu_ms(context: Context, module: nn.Module, execution: Execution) -> float:
    """CPU milliseconds that one answer takes, the preprocessing included."""
    began = time.process_time()
    answered = len(_sampled(context, module, execution))
    return round((time.process_time() - began) * 1e3 / answered, 4)
