"""The label stage: ask the teacher, and later each assistant, about every training sample, once for all runs."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any, Literal

from limbeck.errors import StoreError
from limbeck.files import write_json
from limbeck.pipeline.answering import answering_module, kept, live
from limbeck.pipeline.arms import TEACHER
from limbeck.pipeline.choosing import Way, chosen, described
from limbeck.pipeline.context import Context
from limbeck.pipeline.events import Advanced, Event, Noted
from limbeck.pipeline.label_processes import shared, side_by_side
from limbeck.recipe import Asking
from limbeck.teachers.store import FixedViews, Keep, Progress, StoreKey, store_key
from limbeck.teachers.store import label as fill
from limbeck.teachers.store.format import targets_home
from limbeck.types import Teacher, digest


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
    found = chosen(context, answerer)
    teacher, asking, way = found.teacher, found.asking, found.way
    for refused in found.refused:
        yield Noted(stage, f"not asked with {_shown(refused)}")
    yield Noted(stage, f"asked with {_shown(way)}, {context.plan.label_batch_examples} at once")
    if context.recipe.teacher.view == "same":
        asked = digest([teacher.digest, "same", asking.model_dump()])
        held: dict[str, Any] = {"key": asked, "path": None, "asked": 0, "records": 0, "bytes": 0}
        who = "the teacher" if answerer == TEACHER else answerer
        yield Noted(stage, f"nothing is stored: {who} is asked about each view during the training")
    else:
        keep = kept(context, answering_module(context, answerer), answerer)
        asking = shared(context, asking, lambda other: targets_key(context, teacher, other, keep))
        if asking != found.asking:
            teacher = live(context, asking, answerer)
            yield Noted(stage, f"asked in the way that all who fill this store share: {described(asking)}")
        key = targets_key(context, teacher, asking, keep)
        held = yield from _fill(context, key, teacher, asking, answerer, stage)
    facts = {
        "teacher": teacher.digest,
        "execution": asking.model_dump(mode="json"),
        "check": way.facts,
        "refused": [refused.facts for refused in found.refused],
        "ms_per_example": way.ms_per_example,
    }
    write_json(context.folder.targets(answerer), held | facts)
    context.forget_answers()


def _fill(
    context: Context, key: StoreKey, teacher: Teacher, asking: Asking, answerer: str, stage: str
) -> Generator[Event, None, dict[str, Any]]:
    """The answers about all samples in the store; where they lie, and how many were asked for."""
    began, last = time.perf_counter(), Progress(0, 0, 0)
    for last in progress(context, key, teacher, asking, answerer):
        speed = last.asked / max(time.perf_counter() - began, 1e-9)
        yield Advanced(stage, f"{answerer}'s answers", last.done, last.total, speed)
    path = targets_home(None) / key.digest
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    how = f"{last.asked:,} asked" if last.asked else "found in the cache"
    yield Noted(stage, f"{last.total:,} samples ({how}), {size / 1e6:.1f} MB, store {key.digest}")
    return {"key": key.digest, "path": str(path), "asked": last.asked, "records": last.total, "bytes": size}


def progress(
    context: Context, key: StoreKey, teacher: Teacher, asking: Asking, answerer: str
) -> Iterator[Progress]:
    """Fill a store in this process, or in several beside each other."""
    asked = 0
    if context.processes > 1:
        for step in side_by_side(context, key, asking, answerer):
            asked = step.asked
            yield step
    for step in filling(context, key, teacher):
        yield replace(step, asked=asked + step.asked)


def part(context: Context, answerer: str, asking: Asking) -> Iterator[Progress]:
    """One of several processes' work on a store."""
    teacher = live(context, asking, answerer)
    keep = kept(context, answering_module(context, answerer), answerer)
    yield from filling(context, targets_key(context, teacher, asking, keep), teacher)


def filling(context: Context, key: StoreKey, teacher: Teacher) -> Iterator[Progress]:
    """The work of one process on a store, alone or beside others."""
    return fill(
        teacher,
        context.splits.train,
        context.preprocessing,
        key,
        batch_examples=context.plan.label_batch_examples,
        url=context.recipe.teacher.store,
    )


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


def _shown(way: Way) -> str:
    """A way of asking, and how close it came."""
    if way.failure:
        return f"{described(way.asking)}: {way.failure}"
    close = (
        f"{way.agreement:.2%} agreement, KL {way.kl_nats:.1e} nats to plain fp32 on {way.samples:,} samples"
    )
    return f"{described(way.asking)} ({close})"


def targets_key(context: Context, teacher: Teacher, asking: Asking, keep: Keep) -> StoreKey:
    """The key of the store that holds the answers of one who is asked in this run."""
    recipe = context.recipe
    view: FixedViews | Literal["clean"] = "clean"
    if context.views is not None and recipe.augmentation is not None:
        view = FixedViews(views=context.views, seed=recipe.view_seed, augmentation=recipe.augmentation)
    computed = {**asking.model_dump(), "batch_examples": context.plan.label_batch_examples}
    return store_key(
        teacher,
        context.splits.train,
        context.preprocessing,
        view=view,
        keep=keep,
        execution=digest(computed),
    )
