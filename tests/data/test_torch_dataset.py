"""Torch Datasets: the same pool as arrays, whether kept in memory or read through a DataLoader."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from limbeck.data import Arrays, Loaded, Preprocessing, Stream, as_source, from_dataset
from limbeck.errors import DataError


class Pairs(Dataset[Any]):
    def __init__(self, inputs: Any, labels: Any) -> None:
        self.inputs, self.labels = inputs, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> Any:
        return self.inputs[row], self.labels[row]


IMAGES = np.random.default_rng(0).integers(0, 256, (70, 4, 4, 1), dtype=np.uint8)
LABELS = np.arange(70) % 3


@pytest.mark.parametrize("workers", [0, 1])
def test_read_through_a_dataloader_or_kept_in_memory_it_is_the_same_pool(workers: int) -> None:
    dataset = Pairs(IMAGES, LABELS)
    memory = Arrays(IMAGES, LABELS)
    kept = from_dataset(dataset)
    loaded = from_dataset(dataset, memory_limit_bytes=1, workers=workers)
    assert isinstance(kept, Arrays)
    assert isinstance(loaded, Loaded)
    assert memory.digest == kept.digest == loaded.digest
    streams = [
        Stream(source, Preprocessing(mean=(0.5,), std=(0.5,)), batch_examples=40, seed=0)
        for source in (memory, kept, loaded.subset(torch.arange(70)))
    ]
    for number in range(3):
        inputs = [stream.batch(number).inputs for stream in streams]
        assert torch.equal(inputs[0], inputs[1])
        assert torch.equal(inputs[0], inputs[2])


@pytest.mark.parametrize(
    "inputs",
    [
        torch.from_numpy(IMAGES),
        [torch.from_numpy(image) for image in IMAGES],
        [Image.fromarray(image[..., 0]) for image in IMAGES],
    ],
    ids=["tensor", "tensors", "pillow"],
)
def test_every_kind_of_input_is_read(inputs: Any) -> None:
    assert from_dataset(Pairs(inputs, LABELS)).digest == Arrays(IMAGES, LABELS).digest


def test_labels_may_be_missing_and_tensors_are_pairs() -> None:
    source = from_dataset(Pairs(IMAGES, [None, 1, *[0] * 68]))
    assert source.labels[:3].tolist() == [-1, 1, 0]
    tensors = TensorDataset(torch.rand(6, 3), torch.tensor([0, 1] * 3))
    assert as_source(tensors, name="rows").shape == (3,)
    assert as_source((IMAGES, LABELS), name="pair").digest == Arrays(IMAGES, LABELS).digest


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield 0, 0


class Noisy(Pairs):
    def __getitem__(self, row: int) -> Any:
        return torch.rand(3), 0


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Endless(), "must be map-style"),
        (Noisy([], range(5)), "Remove its random transforms"),
        (Pairs([], []), "is empty"),
        (TensorDataset(torch.rand(4, 2)), "must be a pair"),
        (Pairs([np.zeros((2, 2, 1), np.uint8), np.zeros((3, 2, 1), np.uint8)], [0, 1]), "different shapes"),
        (Pairs(np.full((3, 2), np.nan, np.float32), [0, 1, 0]), "infinity stands in row 0, row 1, row 2"),
    ],
)
@pytest.mark.parametrize("memory_limit_bytes", [1, 1000])
def test_a_dataset_that_cannot_be_used_is_refused(
    dataset: Dataset[Any], message: str, memory_limit_bytes: int
) -> None:
    with pytest.raises(DataError, match=message):
        from_dataset(dataset, memory_limit_bytes=memory_limit_bytes)


def test_what_is_no_data_is_refused() -> None:
    with pytest.raises(DataError, match="train must be a torch Dataset"):
        as_source([1, 2, 3], name="train")
