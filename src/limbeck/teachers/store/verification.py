"""Asking again about a few samples, and comparing with what is stored."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from limbeck.data.preprocessing import Preprocessing
from limbeck.data.source import Source
from limbeck.errors import StoreError
from limbeck.teachers.live import Execution
from limbeck.teachers.store.key import differences, store_key
from limbeck.teachers.store.labelling import Questions, blocks
from limbeck.teachers.store.reader import Store
from limbeck.types import CLEAN, Teacher

_COMPUTED: Final = 1e-4
_KEPT: Final = {"float16": 2.0**-11, "float32": 0.0}


@dataclass(frozen=True, slots=True)
class Verification:
    """What asking again found."""

    asked: int
    """Samples."""

    largest_error: float
    """Largest absolute difference of a logit."""

    tolerance: float
    """What it may be, in logits."""

    worst_id: int
    """The sample with the largest difference."""

    agreement: float
    """Share of answers whose largest logit is of the same class."""

    @property
    def passed(self) -> bool:
        """Whether the store holds what the teacher says."""
        return self.largest_error <= self.tolerance


def tolerance(store: Store, answers: Tensor) -> float:
    """How far a stored answer may be from a new one, in logits.

    1e-4 of the largest logit for the arithmetic (other threads, another processor), and for float16 the half
    unit in the last place that rounding costs, 2**-11 of it. An execution in bf16 needs a wider one on other
    processors.
    """
    return float(answers.abs().max()) * (_COMPUTED + _KEPT[store.key.dtype])


def verify(
    store: Store,
    teacher: Teacher,
    source: Source,
    preprocessing: Preprocessing,
    *,
    sample: int = 256,
    seed: int = 0,
    execution: Execution = nullcontext,
    allowed: float | None = None,
) -> Verification:
    """Ask the teacher again about random blocks of samples, the very blocks it was asked in.

    Args:
        store: Complete.
        teacher: The one that was asked.
        source: The pool.
        preprocessing: Fitted.
        sample: How many samples at least, as far as there are so many.
        seed: Which blocks.
        execution: As when labelling.
        allowed: Largest difference of a logit that passes; by default :func:`tolerance`.

    Raises:
        StoreError: If the store is of another teacher or other data.
    """
    key = store.key
    asked = store_key(teacher, source, preprocessing, view=key.view, dtype=key.dtype, execution=key.execution)
    differing = differences(key, asked)
    if differing:
        raise StoreError(
            f"The store {store.folder.path.name} is of another teacher or other data: "
            f"{'; '.join(differing)}. "
            "Run `limbeck label` to ask again."
        )
    questions = Questions(teacher, source, preprocessing, key, execution)
    order = torch.argsort(source.ids)
    chosen = _chosen(store, sample, seed)
    new = torch.cat([questions.answers(order[block.start : block.stop]) for block in chosen])
    ids = torch.cat([store.ids[block.start : block.stop] for block in chosen])
    return _compared(store, ids, new, allowed)


def _compared(store: Store, ids: Tensor, new: Tensor, allowed: float | None) -> Verification:
    views = [CLEAN] if store.key.view == "clean" else list(range(store.key.views))
    held = torch.stack([store.answers(ids, torch.full_like(ids, view)) for view in views], 1)
    errors = (held - new).abs().amax((1, 2))
    return Verification(
        asked=len(ids),
        largest_error=float(errors.max()),
        tolerance=tolerance(store, new) if allowed is None else allowed,
        worst_id=int(ids[errors.argmax()]),
        agreement=float((held.argmax(-1) == new.argmax(-1)).float().mean()),
    )


def _chosen(store: Store, sample: int, seed: int) -> list[range]:
    """Random blocks, as the teacher was asked, with ``sample`` samples or a few more."""
    found: list[range] = []
    for number in store.folder.shards:
        note, records = store.folder.note(number), store.folder.records(number)
        found += blocks(records, len(records) if note is None else note.batch_examples)
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed)).tolist()
    chosen: list[range] = []
    for place in order:
        if sum(map(len, chosen)) >= sample:
            break
        chosen.append(found[place])
    return chosen
