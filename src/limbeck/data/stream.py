"""Batches: a pure function of a number, so that training can stop and go on anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import torch
from jaxtyping import Int
from torch import Tensor

from limbeck.data.counter import hashed
from limbeck.data.preprocessing import Preprocessing
from limbeck.data.source import Source
from limbeck.data.views import Augmentation, augment
from limbeck.errors import DataError
from limbeck.types import ABSENT, CLEAN, Batch, Pool

_KEPT_ORDERS: Final = 3
_ORDER_SEED: Final = int.from_bytes(b"order", "big") << 16  # never the numbers that views or splits draw


class _Pool:
    """Some rows, gone through again and again, each time in another order.

    The order depends on (seed, epoch, sample id), not on where a sample stands in its folder.
    """

    def __init__(self, source: Source, rows: Tensor, *, seed: int, take: int) -> None:
        self.rows, self.take = rows, take
        self._seed, self._ids = seed, source.ids[rows]
        self._orders: dict[int, Tensor] = {}

    def pick(self, number: int) -> tuple[Tensor, Tensor]:
        """The rows of batch ``number``, and for each how often the pool had been gone through before."""
        start, size = number * self.take, len(self.rows)
        rows, epochs = [], []
        while self.take and start < (number + 1) * self.take:
            epoch, place = divmod(start, size)
            part = self._order(epoch)[place : place + (number + 1) * self.take - start]
            rows.append(part)
            epochs.append(torch.full((len(part),), epoch))
            start += len(part)
        return torch.cat(rows), torch.cat(epochs)

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            drawn = hashed(_ORDER_SEED + self._seed, epoch, self._ids)[:, 0]
            kept = dict(list(self._orders.items())[-_KEPT_ORDERS:])
            self._orders = kept | {epoch: self.rows[torch.argsort(drawn)]}
        return self._orders[epoch]


class Stream:
    """The endless sequence of training batches.

    Args:
        source: The training pool.
        preprocessing: Fitted.
        batch_examples: Rows a batch.
        seed: Of the order. The run's seed.
        labelled: The rows whose labels may be seen; ``None``: every label there is.
        labelled_share: Share of each batch that comes from those rows, the rest from the others; each of the
            two pools is shuffled and gone through on its own. ``None``: one pool of all rows.
        augmentation: ``None``: clean samples.
        view_seed: Of the augmentation; not the run's seed.
        views: How many fixed views there are; ``None``: another one each time the pool is gone through.

    Raises:
        DataError: If a pool that the batches should come from is empty.
    """

    def __init__(
        self,
        source: Source,
        preprocessing: Preprocessing,
        *,
        batch_examples: int,
        seed: int,
        labelled: Int[Tensor, " labelled"] | None = None,
        labelled_share: float | None = None,
        augmentation: Augmentation | None = None,
        view_seed: int = 0,
        views: int | None = None,
    ) -> None:
        self.source, self.batch_examples = source, batch_examples
        self._augmentation = augmentation if augmentation is not None and augmentation.changes else None
        self._view_seed, self._views = view_seed, views
        self._labels = _visible(source, labelled)
        self._by_id: Tensor | None = None
        self._preprocessing = preprocessing
        self._pools = [
            _Pool(source, rows, seed=seed, take=take)
            for rows, take in _shares(self._labels, batch_examples, labelled_share)
        ]

    @property
    def pool(self) -> Pool:
        """Every sample's id, and the labels that may be seen."""
        return Pool(self.source.ids, self._labels)

    @property
    def batches_per_epoch(self) -> float:
        """How many batches go through the larger pool once."""
        return max(len(pool.rows) / pool.take for pool in self._pools)

    def epochs(self, batches: int) -> int:
        """How often so many batches go through a pool, begun passes included: the most of all pools."""
        return max(-(-batches * pool.take // len(pool.rows)) for pool in self._pools)

    def batch(self, number: int) -> Batch:
        """Batch ``number`` (from 0): the same one whenever it is asked for, in any order.

        Returns:
            Inputs as a model takes them, ids, views, and labels (``ABSENT`` where they may not be seen).
        """
        picked = [pool.pick(number) for pool in self._pools]
        rows, epochs = (
            torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*picked, strict=True)
        )
        batch = self._clean(rows)
        if self._augmentation is None:
            return batch
        views = epochs if self._views is None else epochs % self._views
        changed = augment(
            batch.inputs, batch.ids, views, augmentation=self._augmentation, seed=self._view_seed
        )
        return replace(batch, inputs=changed, views=views)

    def clean(self, batch: Batch) -> Batch:
        """The same samples, not augmented.

        Args:
            batch: Made by this stream (on the CPU).
        """
        if self._augmentation is None:
            return batch
        if self._by_id is None:
            self._by_id = torch.argsort(self.source.ids)
        place = torch.searchsorted(self.source.ids, batch.ids, sorter=self._by_id)
        return self._clean(self._by_id[place])

    def _clean(self, rows: Tensor) -> Batch:
        return Batch(
            ids=self.source.ids.index_select(0, rows),
            inputs=self._preprocessing.apply(self.source.raw(rows)),
            labels=self._labels.index_select(0, rows),
            views=torch.full((len(rows),), CLEAN),
        )


def ordered(source: Source, preprocessing: Preprocessing, batch_examples: int) -> Iterator[Batch]:
    """The whole pool once, clean and in order, with its labels; the last batch may be smaller."""
    for rows in source.chunks(batch_examples):
        yield Batch(
            ids=source.ids[rows],
            inputs=preprocessing.apply(source.raw(rows)),
            labels=source.labels[rows],
            views=torch.full((len(rows),), CLEAN),
        )


def _visible(source: Source, labelled: Tensor | None) -> Tensor:
    if labelled is None:
        return source.labels
    seen = torch.full_like(source.labels, ABSENT)
    seen[labelled] = source.labels[labelled]
    return seen


def _shares(labels: Tensor, batch_examples: int, share: float | None) -> list[tuple[Tensor, int]]:
    """(rows, how many of them a batch) for each pool that batches come from."""
    if share is None:
        return [(torch.arange(len(labels)), batch_examples)]
    known = labels != ABSENT
    first = round(share * batch_examples)
    if share > 0 and first == 0:
        raise DataError(
            f"labelled_share is {share}, which is no sample at all in a batch of {batch_examples}. Raise "
            "one of them, or set labelled_share to 0."
        )
    pools = [
        (known.nonzero()[:, 0], first, "with"),
        ((~known).nonzero()[:, 0], batch_examples - first, "without"),
    ]
    for rows, take, word in pools:
        if take and not len(rows):
            raise DataError(
                f"labelled_share is {share}, so {take} of {batch_examples} samples of a batch come from "
                f"those {word} a visible label, but there are none. Set labelled_share to null to draw "
                "from all samples."
            )
    return [(rows, take) for rows, take, _ in pools if take]
