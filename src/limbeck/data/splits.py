"""Training, validation and test pools, and which labels the student's maker has.

Everything is stratified by class and drawn by a hash of each sample's id, so that a reordered folder is
divided in the same way, and a larger pool keeps most of its division.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from limbeck.data.config import Division
from limbeck.data.counter import hashed
from limbeck.data.source import Source
from limbeck.errors import DataError
from limbeck.types import ABSENT

_SPLIT_SEED: Final = int.from_bytes(b"split", "big") << 16  # never the numbers that views or orders draw
_TEST, _VALIDATION, _LABELLED, _LIMIT = range(4)
_DEFAULT_TEST: Final = 0.2
_DEFAULT_VALIDATION: Final = 0.1


@dataclass(frozen=True, slots=True)
class Parts:
    """Data as it comes: a training pool, and the parts that are stored apart from it."""

    train: Source
    validation: Source | None = None
    test: Source | None = None


@dataclass(frozen=True, slots=True)
class Splits:
    """Data as it is used."""

    train: Source
    """All that may be trained on: labelled and unlabelled samples, with every label that the data has."""
    validation: Source
    """Choices are made on it."""
    test: Source
    """Touched once, at the end."""
    labelled: Int[Tensor, " labelled"]
    """Rows of ``train`` whose labels the student's maker has."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """Files that could not be read, and are in none of the parts."""
        parts = (self.train, self.validation, self.test)
        return tuple(dict.fromkeys(name for part in parts for name in part.left_out))


def split(parts: Parts, division: Division) -> Splits:
    """Divide data as a recipe says.

    Args:
        parts: What there is.
        division: How much goes where.

    Raises:
        DataError: If a class is empty, validation or test data has no labels, the parts have different
            classes, there are too few samples, or a part is asked for that the data brings along.
    """
    _check_parts(parts, division)
    train, test = parts.train, parts.test
    if test is None:
        train, test = _cut(train, division.test or _DEFAULT_TEST, division.seed, _TEST, "test")
    validation = parts.validation
    if validation is None:
        amount = division.validation or _DEFAULT_VALIDATION
        train, validation = _cut(train, amount, division.seed, _VALIDATION, "validation")
    train, validation, test = (_limited(part, division) for part in (train, validation, test))
    return Splits(train, validation, test, _labelled(train, division))


def _check_parts(parts: Parts, division: Division) -> None:
    _refuse_empty_classes(parts.train)
    own = {"validation": (parts.validation, division.validation), "test": (parts.test, division.test)}
    for name, (source, amount) in own.items():
        if source is None:
            continue
        if amount is not None:
            raise DataError(
                f"data.{name} asks for {amount}, but the data has a {name} part of its own "
                f"({source.name}). Remove one of the two."
            )
        _check_measured(source, parts.train, name)


def _check_measured(source: Source, train: Source, name: str) -> None:
    absent = (source.labels == ABSENT).nonzero()[:, 0]
    if len(absent):
        raise DataError(
            f"{source.name}: {name} data must have labels, but {len(absent)} of {len(source)} samples have "
            f"none (first: {source.describe(int(absent[0]))}). Label them, or move them to the training "
            "pool."
        )
    if source.classes != train.classes:
        raise DataError(
            f"{source.name} has the classes {list(source.classes)}, but {train.name} has "
            f"{list(train.classes)}. Give both the same classes in the same order."
        )
    if (source.shape, source.dtype) != (train.shape, train.dtype):
        raise DataError(
            f"{source.name} has samples {list(source.shape)} {source.dtype}, but {train.name} has "
            f"{list(train.shape)} {train.dtype}. Bring them into one form."
        )


def _refuse_empty_classes(train: Source) -> None:
    if len(train.classes) < 2:
        raise DataError(
            f"{train.name}: a classification needs at least 2 classes, got {list(train.classes)}."
        )
    counts = np.bincount(train.labels[train.labels != ABSENT].numpy(), minlength=len(train.classes))
    empty = [train.classes[index] for index in np.flatnonzero(counts == 0)]
    if empty:
        raise DataError(
            f"{train.name}: no training sample belongs to class {', '.join(map(repr, empty))}. Add "
            "samples, or remove the class."
        )


def _cut(source: Source, amount: int | float, seed: int, purpose: int, name: str) -> tuple[Source, Source]:
    """What is left, and the part that was cut out of the labelled samples."""
    known = (source.labels != ABSENT).nonzero()[:, 0]
    count = _count(amount, len(known))
    sizes = np.bincount(source.labels[known].numpy(), minlength=len(source.classes))
    if count > len(known) - len(source.classes) or count < len(source.classes) or sizes.min() < 2:
        smallest = source.classes[int(sizes.argmin())]
        raise DataError(
            f"data.{name} asks for {amount} of {len(known)} labelled samples of {source.name}: too few to "
            f"give each of the {len(source.classes)} classes at least one on both sides (smallest: "
            f"{smallest!r} with {sizes.min()}). Change data.{name} or add samples."
        )
    chosen = _stratified(source, known, count, seed, purpose, leave=1)
    rest = torch.ones(len(source), dtype=torch.bool)
    rest[chosen] = False
    kept = rest.nonzero()[:, 0]
    return source.subset(kept), source.subset(chosen, name=f"{source.name} {name}")


def _limited(source: Source, division: Division) -> Source:
    if division.limit is None or division.limit >= len(source):
        return source
    groups = len(np.unique(source.labels.numpy()))
    if division.limit < groups:
        raise DataError(
            f"data.limit is {division.limit}, but {source.name} has {groups} kinds of label (no label is "
            "one). Raise it."
        )
    rows = torch.arange(len(source))
    return source.subset(_stratified(source, rows, division.limit, division.seed, _LIMIT, leave=0))


def _labelled(train: Source, division: Division) -> Tensor:
    known = (train.labels != ABSENT).nonzero()[:, 0]
    if division.labelled == "all":
        return known
    count = _count(division.labelled, len(known))
    if not len(train.classes) <= count <= len(known):
        raise DataError(
            f"data.labelled asks for {count} labels; expected {len(train.classes)} (one a class) to "
            f"{len(known)} (all in the training pool). Change data.labelled."
        )
    return _stratified(train, known, count, division.seed, _LABELLED, leave=0)


def _count(amount: int | float, available: int) -> int:
    return amount if isinstance(amount, int) else max(1, round(amount * available))


def _stratified(source: Source, rows: Tensor, count: int, seed: int, purpose: int, *, leave: int) -> Tensor:
    """``count`` of the rows, each class in proportion, in their old order; no label is a class here."""
    labels = source.labels[rows].numpy() - ABSENT
    draws = hashed(_SPLIT_SEED + seed, purpose, source.ids[rows])[:, 0].numpy()
    order = np.lexsort((draws, labels))
    sizes = np.bincount(labels)
    starts = np.cumsum(sizes) - sizes
    rank = np.arange(len(labels)) - starts[labels[order]]
    chosen = order[rank < _quotas(sizes, count, leave=leave)[labels[order]]]
    return rows[torch.from_numpy(np.sort(chosen))]


def _quotas(sizes: NDArray[np.int64], count: int, *, leave: int) -> NDArray[np.int64]:
    """How many of each class: in proportion, at least one, all but ``leave`` at most, ``count`` in all."""
    exact = sizes * (count / sizes.sum())
    least, most = np.minimum(sizes, 1), np.maximum(sizes - leave, 0)
    quotas: NDArray[np.int64] = np.clip(np.floor(exact).astype(np.int64), least, most)
    while (missing := count - int(quotas.sum())) != 0:
        step = 1 if missing > 0 else -1
        free = quotas < most if step > 0 else quotas > least
        quotas[np.where(free, step * (exact - quotas), -np.inf).argmax()] += step
    return quotas
