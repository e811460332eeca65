"""Any map-style torch Dataset as a pool: read into memory where it fits, else through a DataLoader."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from limbeck.data.arrays import Arrays, raw_tensor
from limbeck.data.content import contents
from limbeck.data.labels import class_indices
from limbeck.data.source import Source, refuse_non_finite
from limbeck.errors import DataError
from limbeck.types import ABSENT

_CHUNK_ROWS: Final = 1024
_PROBED_ROWS: Final = 4


class _Rows(Sampler[int]):
    """The rows that are wanted now."""

    def __init__(self) -> None:
        self.wanted: list[int] = []

    def __iter__(self) -> Iterator[int]:
        return iter(self.wanted)

    def __len__(self) -> int:
        return len(self.wanted)


class _Reader:
    """Fetches rows of a Dataset, in worker processes if asked."""

    def __init__(self, dataset: Dataset[Any], *, name: str, workers: int) -> None:
        self._rows = _Rows()
        self._loader = DataLoader(
            dataset,
            batch_size=32,
            sampler=self._rows,
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=_Collated(name),
        )

    def __call__(self, rows: Sequence[int]) -> tuple[Tensor, list[int]]:
        self._rows.wanted = list(rows)
        parts = list(self._loader)
        return torch.cat([inputs for inputs, _ in parts]), [label for _, labels in parts for label in labels]


class _Collated:
    """Pairs (input, label) as one tensor and a list."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, samples: Sequence[Any]) -> tuple[Tensor, list[int]]:
        if any(not isinstance(sample, (tuple, list)) or len(sample) != 2 for sample in samples):
            raise DataError(f"{self._name}: each sample of the Dataset must be a pair (input, label).")
        inputs = [_plain(one) for one, _ in samples]
        if len({one.shape for one in inputs}) > 1:
            shapes = sorted({tuple(one.shape) for one in inputs})
            raise DataError(
                f"{self._name}: samples have different shapes {shapes}; expected one. Resize them first."
            )
        labels = [ABSENT if label is None else int(label) for _, label in samples]
        return raw_tensor(torch.stack(inputs), name=self._name), labels


class Loaded(Source):
    """A Dataset that is read through a DataLoader each time, for data larger than memory.

    Args:
        dataset: Map-style; gives (input, label) pairs that are the same whenever they are read.
        labels: ``[n]`` class indices, as they were read.
        contents: ``[n]`` content hashes, as they were read.
        classes: Names of the classes.
        name: For messages.
        workers: Processes that read; 0: this one.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        labels: Tensor,
        contents: Tensor,
        classes: tuple[str, ...],
        name: str,
        workers: int = 0,
    ) -> None:
        self._reader = _Reader(dataset, name=name, workers=workers)
        first, _ = self._reader([0])
        super().__init__(
            name=name,
            contents=contents,
            labels=labels,
            classes=classes,
            shape=tuple(first.shape[1:]),
            dtype=first.dtype,
        )

    def _read(self, rows: Tensor) -> Tensor:
        return self._reader(rows.tolist())[0]


def from_dataset(
    dataset: Dataset[Any],
    *,
    classes: Sequence[str] | None = None,
    name: str = "dataset",
    workers: int = 0,
    memory_limit_bytes: int = 2 << 30,
) -> Source:
    """A pool from a torch Dataset, which is read through once.

    Args:
        dataset: Map-style, with a length; gives pairs (input, label). Inputs: tensors, numpy arrays or
            Pillow images, uint8 [height, width, channels] or floating point; labels: class indices or
            ``None``.
        classes: Names of the classes.
        name: For messages.
        workers: Processes of the DataLoader; 0: none.
        memory_limit_bytes: What fits in this is kept in memory and never read again.

    Raises:
        DataError: If samples are no pairs, differ in shape, are not finite, or change from one reading to
            the next.
    """
    count = _length(dataset, name)
    reader = _Reader(dataset, name=name, workers=workers)
    first, _ = reader(range(min(count, _PROBED_ROWS)))
    _refuse_random(first, reader, name)
    keep = first[0].nbytes * count <= memory_limit_bytes
    kept, hashes, labels = [], [], list[int]()
    for start in range(0, count, _CHUNK_ROWS):
        inputs, some = reader(range(start, min(start + _CHUNK_ROWS, count)))
        hashes.append(contents(inputs.numpy()))
        labels += some
        kept += [inputs] if keep else []
    content = torch.cat(hashes)
    if keep:
        return Arrays(torch.cat(kept), labels, classes=classes, name=name, known_contents=content)
    indices, known = class_indices(labels, count=count, classes=classes, name=name)
    source = Loaded(dataset, labels=indices, contents=content, classes=known, name=name, workers=workers)
    refuse_non_finite(source)
    return source


def _length(dataset: Dataset[Any], name: str) -> int:
    if "__len__" not in dir(dataset):
        raise DataError(
            f"{name}: the Dataset must be map-style, with a length and an index. Iterable ones have no ids."
        )
    count = len(dataset)  # type: ignore[arg-type]
    if count == 0:
        raise DataError(f"{name}: the Dataset is empty.")
    return count


def _refuse_random(first: Tensor, reader: _Reader, name: str) -> None:
    again, _ = reader(range(len(first)))
    if not torch.equal(first.nan_to_num(), again.nan_to_num()):
        raise DataError(
            f"{name}: the Dataset gave another input when the same sample was read again. Remove its "
            "random transforms and use the recipe's augmentation, whose views can be made again."
        )


def _plain(one: Any) -> Tensor:
    if isinstance(one, Tensor):
        return one
    array = np.array(one)
    return torch.from_numpy(array[..., None] if isinstance(one, Image.Image) and array.ndim == 2 else array)
