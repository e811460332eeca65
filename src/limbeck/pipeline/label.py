"""The label stage: ask the teacher about every training sample, once for all runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from limbeck.errors import StoreError
from limbeck.evaluation import agreement, kl_nats
from limbeck.files import read_json, write_json
from limbeck.pipeline.context import Context
from limbeck.pipeline.events import Advanced, Event, Noted
from limbeck.pipeline.predict import logits_of
from limbeck.recipe import Execution
from limbeck.teachers import LiveTeacher
from limbeck.teachers.store import FixedViews, Progress, Store, StoreKey, store_key
from limbeck.teachers.store import label as fill
from limbeck.teachers.store.format import targets_home
from limbeck.training import executing
from limbeck.types import digest

SAMPLE_EXAMPLES = 1024
LEAST_AGREEMENT = 0.999
LARGEST_KL_NATS = 1e-4
"""A faster number format is used where a sample of its answers is at least this close to those in fp32."""


def label(context: Context) -> Iterator[Event]:
    """Fill the target store, and leave its key and place in ``targets.json``."""
    execution = _execution(context)
    if execution != context.plan.label:
        text = f"asked in fp32: {context.plan.label.precision} answers are not close enough to them"
        yield Noted("label", text)
    teacher = live(context, execution)
    key = targets_key(context, teacher, execution)
    began, last = time.perf_counter(), Progress(0, 0, 0)
    train = context.splits.train
    batch = context.plan.label_batch_examples
    for last in fill(
        teacher,
        train,
        context.preprocessing,
        key,
        batch_examples=batch,
        execution=lambda: block(context, execution),
    ):
        speed = last.asked / max(time.perf_counter() - began, 1e-9)
        yield Advanced("label", "teacher's answers", last.done, last.total, speed)
    yield from _written(context, key, execution, last)


def held(context: Context) -> bool:
    """Whether the answers that ``targets.json`` names are still in the cache, whole."""
    try:
        Store.open(Path(read_json(context.folder.path / "targets.json")["path"]))
    except StoreError:
        return False
    return True


def targets_whole(context: Context) -> bool:
    """Whether the answers are still there, and undamaged."""
    if not (context.folder.path / "targets.json").exists():
        return False
    try:
        context.stored_teacher()
    except StoreError:
        return False
    return True


def live(context: Context, execution: Execution) -> LiveTeacher:
    """The teacher, laid out as an execution says."""
    layout = torch.channels_last if execution.layout == "channels_last" else torch.contiguous_format
    return LiveTeacher(
        context.teacher_module, classes=len(context.classes), shape=context.shape, layout=layout
    )


def block(context: Context, execution: Execution) -> AbstractContextManager[None]:
    """The block in which the teacher is asked."""
    return executing(execution, device=context.device)


def targets_key(context: Context, teacher: LiveTeacher, execution: Execution) -> StoreKey:
    """The key of the store that holds this run's answers."""
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
        dtype=recipe.teacher.dtype,
        execution=digest(computed),
    )


def _execution(context: Context) -> Execution:
    """The plan's, where a sample of its answers agrees with fp32; otherwise the same in fp32."""
    planned = context.plan.label
    if planned.precision == "fp32":
        return planned
    exact = planned.model_copy(update={"precision": "fp32"})
    answers = [_sampled(context, execution) for execution in (planned, exact)]
    close = agreement(*answers) >= LEAST_AGREEMENT and kl_nats(*answers) <= LARGEST_KL_NATS
    return planned if close else exact


def _written(context: Context, key: StoreKey, execution: Execution, last: Progress) -> Iterator[Event]:
    path = targets_home(None) / key.digest
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    facts = {
        "key": key.digest,
        "path": str(path),
        "teacher": key.teacher,
        "execution": execution.model_dump(mode="json"),
        "asked": last.asked,
        "records": last.total,
        "bytes": size,
        "ms_per_example": _cpu_ms(context, execution),
    }
    write_json(context.folder.path / "targets.json", facts)
    context.forget_answers()
    how = f"{last.asked:,} asked" if last.asked else "found in the cache"
    yield Noted("label", f"{last.total:,} samples ({how}), {size / 1e6:.1f} MB, store {key.digest}")


def _sampled(context: Context, execution: Execution) -> NDArray[np.float32]:
    train = context.splits.train
    sample = train.subset(torch.arange(0, len(train), max(1, len(train) // SAMPLE_EXAMPLES)))
    return logits_of(context.teacher_module, sample, context.preprocessing, execution, context.device).numpy()


def _cpu_ms(context: Context, execution: Execution) -> float:
    """CPU milliseconds that one answer takes, the preprocessing included."""
    began = time.process_time()
    answered = len(_sampled(context, execution))
    return round((time.process_time() - began) * 1e3 / answered, 4)
