"""Asking the teacher in several one-thread processes at once; each claims one missing shard after another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Final

from limbeck.errors import UserError
from limbeck.pipeline.context import Context
from limbeck.pipeline.events import Advanced
from limbeck.pipeline.pool import Pool
from limbeck.recipe import Asking
from limbeck.teachers.store import Progress, StoreKey
from limbeck.teachers.store.format import StoreFolder, targets_home

WORK: Final = "label "
"""How the name of such a job begins, in :mod:`limbeck.pipeline.worker`."""


def shared(context: Context, planned: Asking, key: Callable[[Asking], StoreKey]) -> Asking:
    """How the teacher is computed: in one thread where several processes ask, else as planned.

    Another number of threads may give other bits, so it is another store. One that was begun is gone on with in
    its own way, so that nothing is asked twice.

    Args:
        context: The run.
        planned: The plan's.
        key: The key of the store that a way of asking fills.
    """
    single = planned.model_copy(update={"threads": 1})
    wished = (planned, single) if context.processes == 1 else (single, planned)
    begun = [one for one in wished if (targets_home(None) / key(one).digest / "manifest.json").is_file()]
    return (begun or wished)[0]


def side_by_side(context: Context, key: StoreKey, asking: Asking, answerer: str) -> Iterator[Progress]:
    """Fill a store in ``context.processes`` processes; yields how far all of them have come.

    Raises:
        UserError: If teacher or data exist only as Python objects.
        RunError: If a process died; what was kept stays.
    """
    if not context.objects.travel:
        raise UserError(
            f"{context.processes} processes cannot ask a teacher that exists only in this one. Name it in a recipe, "
            "or label with one process."
        )
    total, held = len(context.splits.train), _held(key)
    asked = [0] * context.processes
    with Pool(context.folder.path, context.processes, asking) as pool:
        for number, worker in enumerate(pool.idle()):
            job = {"number": number, "answerer": answerer, "asking": asking.model_dump(mode="json")}
            worker.start(WORK + json.dumps(job))
        while pool.busy():
            for reply in pool.replies("label"):
                if isinstance(reply, Advanced) and reply.done != asked[int(reply.job)]:
                    asked[int(reply.job)] = reply.done
                    yield Progress(min(total, held + sum(asked)), total, sum(asked))


def _held(key: StoreKey) -> int:
    """How many samples are answered already."""
    path = targets_home(None) / key.digest
    if not (path / "manifest.json").is_file():
        return 0
    folder = StoreFolder.read(path)
    return sum(len(folder.records(number)) for number in folder.notes())
