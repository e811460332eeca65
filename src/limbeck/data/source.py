"""Where samples come from: a pool of raw samples with stable ids and, perhaps, labels."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from limbeck.data.content import numbered, pool_digest
from limbeck.errors import DataError

_NAMED_ROWS: Final = 5


class Source(ABC):
    """A pool of raw samples.

    Attributes:
        name: For messages.
        ids: int64 ``[n]``, distinct, made from content: a reordered pool has the same ids.
        contents: int64 ``[n]``, equal for exact duplicates.
        labels: int64 ``[n]``, class indices; ``ABSENT`` where there is none.
        classes: The names of the classes, by index.
        shape: Of one raw sample: (height, width, channels) for images, (features,) for rows.
        dtype: Of a raw sample.
        names: A name a sample (its file), or ``None``.
        left_out: Files that could not be read, and are not in it; every subset knows of all.
    """

    name: str
    ids: Tensor
    contents: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype
    names: tuple[str, ...] | None
    left_out: tuple[str, ...] = ()
    _rows: Tensor | None = None
    _digest: str | None = None

    def __init__(
        self,
        *,
        name: str,
        contents: Tensor,
        labels: Tensor,
        classes: tuple[str, ...],
        shape: tuple[int, ...],
        dtype: torch.dtype,
        names: Sequence[str] | None = None,
    ) -> None:
        self.name, self.classes, self.shape, self.dtype = name, classes, shape, dtype
        self.contents, self.labels = contents, labels
        self.ids = numbered(contents, labels)
        self.names = None if names is None else tuple(names)

    @abstractmethod
    def _read(self, rows: Tensor) -> Tensor:
        """The raw samples at these places of the whole pool."""

    def __len__(self) -> int:
        return len(self.ids)

    def raw(self, rows: Int[Tensor, " batch"]) -> Tensor:
        """The raw samples of some rows, ``[batch, *shape]``."""
        return self._read(rows if self._rows is None else self._rows.index_select(0, rows))

    def chunks(self, size: int = 4096) -> Iterator[Int[Tensor, " chunk"]]:
        """All row numbers in order, ``size`` at a time."""
        for start in range(0, len(self), size):
            yield torch.arange(start, min(start + size, len(self)))

    def subset(self, rows: Int[Tensor, " kept"], *, name: str | None = None) -> Source:
        """A pool of some of the rows, which keep their ids. Nothing is copied."""
        part = copy.copy(self)
        part.name = name or self.name
        part.ids, part.contents = self.ids[rows], self.contents[rows]
        part.labels = self.labels[rows]
        part.names = None if self.names is None else tuple(self.names[row] for row in rows.tolist())
        part._rows = rows if self._rows is None else self._rows[rows]
        part._digest = None
        return part

    @property
    def digest(self) -> str:
        """Sixteen hex digits for content, labels and classes, whatever the order of the rows."""
        if self._digest is None:
            form = [*self.shape, str(self.dtype)]
            self._digest = pool_digest(self.ids, self.labels, self.classes, form=form)
        return self._digest

    @property
    def raw_bytes(self) -> int:
        """What all the raw samples take in memory."""
        return len(self) * int(np.prod(self.shape)) * self.dtype.itemsize

    def describe(self, row: int) -> str:
        """How to call a row in a message: its number, and its name where it has one."""
        return f"row {row}" if self.names is None else f"row {row} ({self.names[row]})"


def refuse_non_finite(source: Source) -> None:
    """Read a floating-point pool once and refuse NaN and infinity, naming the rows.

    Raises:
        DataError: If any value is not finite.
    """
    if not source.dtype.is_floating_point:
        return
    bad: list[int] = []
    for rows in source.chunks():
        finite = source.raw(rows).flatten(1).isfinite().all(1)
        bad += rows[~finite].tolist()
    if bad:
        named = ", ".join(source.describe(row) for row in bad[:_NAMED_ROWS])
        more = f" and {len(bad) - _NAMED_ROWS} more" if len(bad) > _NAMED_ROWS else ""
        raise DataError(
            f"{source.name}: inputs must be finite, but NaN or infinity stands in {named}{more}. Remove "
            "these samples or replace the values."
        )
