"""Arrays: wherever they lie they are the same pool, and bad ones are refused by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck.data import Arrays, Mapped, Source, read_arrays
from limbeck.errors import DataError


def equal(first: Source, second: Source) -> bool:
    rows = torch.tensor([5, 0, 3])
    return (
        first.digest == second.digest
        and first.classes == second.classes
        and torch.equal(first.ids, second.ids)
        and torch.equal(first.labels, second.labels)
        and torch.equal(first.raw(rows), second.raw(rows))
    )


@pytest.mark.parametrize("shape", [(8, 4, 4), (8, 4, 4, 3), (8, 5)])
def test_every_way_to_hold_arrays_is_the_same_pool(shape: tuple[int, ...], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=shape) if len(shape) == 2 else generator.integers(0, 256, shape)
    inputs = inputs.astype(np.float32 if len(shape) == 2 else np.uint8)
    labels = np.array([0, 1, 2, 0, 1, 2, -1, 0])
    np.save(tmp_path / "inputs.npy", inputs)
    np.save(tmp_path / "labels.npy", labels)
    np.savez(tmp_path / "data.npz", inputs=inputs, labels=labels)
    memory = Arrays(inputs, labels)
    mapped = read_arrays(tmp_path)
    assert isinstance(mapped, Mapped)
    assert equal(memory, mapped)
    assert equal(memory, read_arrays(tmp_path / "data.npz"))
    assert equal(memory, Arrays(torch.from_numpy(inputs), torch.from_numpy(labels)))
    part = torch.tensor([6, 1, 2, 4, 7, 3])
    assert equal(memory.subset(part), mapped.subset(part))


def test_class_names_may_stand_for_labels() -> None:
    images = np.zeros((3, 2, 2), dtype=np.uint8)
    source = Arrays(images, np.array(["dog", "cat", "dog"]))
    assert source.classes == ("cat", "dog")
    assert source.labels.tolist() == [1, 0, 1]
    with pytest.raises(DataError, match="row 1 is 'cat'"):
        Arrays(images, ["dog", "cat", "dog"], classes=["dog", "cow"])


def test_the_file_names_its_classes(tmp_path: Path) -> None:
    images = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    np.savez(tmp_path / "data.npz", inputs=images, labels=[0, 1], classes=["cat", "dog"])
    assert read_arrays(tmp_path / "data.npz").classes == ("cat", "dog")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_with_their_row(bad: float, tmp_path: Path) -> None:
    inputs = np.ones((20, 3), dtype=np.float32)
    inputs[17, 1] = bad
    np.save(tmp_path / "inputs.npy", inputs)
    for read in (lambda: Arrays(inputs, [0, 1] * 10), lambda: read_arrays(tmp_path)):
        with pytest.raises(DataError, match=r"NaN or infinity stands in row 17\."):
            read()


def test_a_wrong_number_of_labels_is_refused() -> None:
    with pytest.raises(DataError, match=r"5 inputs but labels of shape \[4\]"):
        Arrays(np.zeros((5, 2, 2), dtype=np.uint8), [0, 1, 0, 1])


@pytest.mark.parametrize("label", [3, -2])
def test_a_label_outside_the_classes_is_refused_with_its_row(label: int) -> None:
    with pytest.raises(DataError, match=f"row 2 is {label}, outside the 3 classes"):
        Arrays(np.zeros((4, 2, 2), dtype=np.uint8), [0, 1, label, 2], classes=["a", "b", "c"])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros((0, 2, 2), dtype=np.uint8), "at least one sample"),
        (np.zeros((3, 2), dtype=np.int32), "must be uint8"),
    ],
)
def test_inputs_of_another_kind_are_refused(inputs: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Arrays(inputs, [0] * len(inputs))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not a zip file")
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    np.savez(tmp_path / "objects.npz", inputs=np.array([{}, {}], dtype=object))
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "plain.npy", np.zeros(3))
    for name in ("missing.npz", "broken.npz", "objects.npz", "empty", "plain.npy"):
        with pytest.raises(DataError, match=f"{name} cannot be read"):
            read_arrays(tmp_path / name)
    with pytest.raises(DataError, match="no array 'inputs'; it holds \\['images'\\]"):
        read_arrays(tmp_path / "other.npz")
