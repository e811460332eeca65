"""Asking again about a few samples, and comparing with what is stored."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.data.preprocessing import Preprocessing
from limbeck.data.source import Source
from limbeck.errors import StoreError
from limbeck.teachers.live import Execution
from limbeck.teachers.store.encoding import tapping, views_of
from limbeck.teachers.store.keeping import ANSWER
from limbeck.teachers.store.key import differences, store_key
from limbeck.teachers.store.kinds import apart
from limbeck.teachers.store.questions import Questions, blocks
from limbeck.teachers.store.reader import Store
from limbeck.types import Outputs, Teacher


@dataclass(frozen=True, slots=True)
class Comparison:
    """One part of the records against new answers."""

    part: str
    """``answer``, or the name of a tap."""

    largest: float
    """Largest difference."""

    tolerance: float
    """What it may be."""

    unit: str
    """Of both."""

    worst_id: int
    """The sample with the largest difference."""

    @property
    def passed(self) -> bool:
        """Whether it is within the tolerance."""
        return self.largest <= self.tolerance


@dataclass(frozen=True, slots=True)
class Verification:
    """What asking again found."""

    asked: int
    """Samples."""

    parts: tuple[Comparison, ...]
    """The answer, then each tap."""

    agreement: float | None
    """Share of answers whose largest logit is of the same class; none where the store does not say which it was."""

    @property
    def passed(self) -> bool:
        """Whether the store holds what the teacher says."""
        return all(part.passed for part in self.parts)

    @property
    def largest_error(self) -> float:
        """Largest difference of an answer."""
        return self.parts[0].largest

    @property
    def tolerance(self) -> float:
        """What it may be."""
        return self.parts[0].tolerance

    @property
    def worst_id(self) -> int:
        """The sample whose answer differs most."""
        return self.parts[0].worst_id


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
        allowed: Largest difference of an answer that passes. By default 1e-4 of the largest number for the arithmetic
            (other threads, another processor), and what the kind of the store says that keeping costs; 2 % of the
            draws where classes were drawn. An execution in bf16 needs a wider one on other processors.

    Raises:
        StoreError: If the store is of another teacher or other data.
    """
    key = store.key
    asked = store_key(teacher, source, preprocessing, view=key.view, keep=key.keep, execution=key.execution)
    differing = differences(key, asked)
    if differing:
        raise StoreError(
            f"The store {store.folder.path.name} is of another teacher or other data: "
            f"{'; '.join(differing)}. "
            "Run `limbeck label` to ask again."
        )
    questions = Questions(tapping(teacher, key), source, preprocessing, key, execution)
    order = torch.argsort(source.ids)
    chosen = _chosen(store, sample, seed)
    new = [questions.answers(order[block.start : block.stop]) for block in chosen]
    ids = torch.cat([store.ids[block.start : block.stop] for block in chosen])
    return _compared(store, ids, [_joined(list(views)) for views in zip(*new, strict=True)], allowed)


def _joined(blocks: list[Outputs]) -> Outputs:
    names = blocks[0].taps
    taps = {name: torch.cat([block.taps[name] for block in blocks]) for name in names}
    texts = [block.text for block in blocks if block.text is not None]
    if texts:
        return Outputs(None, taps, text=tuple(text for block in texts for text in block))
    return Outputs(torch.cat([block.logits for block in blocks]), taps)


def _compared(store: Store, ids: Tensor, new: list[Outputs], allowed: float | None) -> Verification:
    keep, kind = store.key.keep, store.key.keep.answers
    views = list(views_of(store.key))
    held = [store.outputs(ids, torch.full_like(ids, view), keep.names) for view in views]
    apart_by_view = [
        kind.difference(there, here, ids, view) for there, here, view in zip(held, new, views, strict=True)
    ]
    tolerance = max(kind.allowed(here) for here in new) if allowed is None else allowed
    parts = [_worst(ANSWER, apart_by_view, ids, tolerance, kind.unit)]
    for tap in keep.taps:
        each = [
            apart(there.taps[tap.name], here.taps[tap.name]) for there, here in zip(held, new, strict=True)
        ]
        most = max(tap.allowed(here.taps[tap.name]) for here in new)
        parts.append(_worst(tap.name, each, ids, most, "units of the layer"))
    return Verification(asked=len(ids), parts=tuple(parts), agreement=_agreement(held, new))


def _worst(part: str, by_view: list[Tensor], ids: Tensor, tolerance: float, unit: str) -> Comparison:
    each = torch.stack(by_view, 1).amax(1)
    return Comparison(part, float(each.max()), tolerance, unit, int(ids[each.argmax()]))


def _agreement(held: list[Outputs], new: list[Outputs]) -> float | None:
    largest = [_largest(there) for there in held]
    if any(classes is None for classes in largest):
        return None
    same = [
        (there == here.logits.argmax(-1)).float().mean()
        for there, here in zip(largest, new, strict=True)
        if there is not None
    ]
    return float(torch.stack(same).mean())


def _largest(held: Outputs) -> Tensor | None:
    if held.dense is not None:
        return held.dense.argmax(-1)
    if held.sparse is None or held.sparse.classes.shape[1] == 0:
        return None
    return held.sparse.classes[:, 0]


def _chosen(store: Store, sample: int, seed: int) -> list[range]:
    """Random blocks, as the teacher was asked, with ``sample`` samples or a few more."""
    found: list[range] = []
    notes = store.folder.notes()
    for number in store.folder.shards:
        note, records = notes.get(number), store.folder.records(number)
        found += blocks(records, len(records) if note is None else note.batch_examples)
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed)).tolist()
    chosen: list[range] = []
    for place in order:
        if sum(map(len, chosen)) >= sample:
            break
        chosen.append(found[place])
    return chosen
