"""Pools of arrays: in memory, or memory-mapped where they are larger than that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck.data.content import contents
from limbeck.data.labels import class_indices
from limbeck.data.source import Source, refuse_non_finite
from limbeck.errors import DataError

_CHUNK_ROWS: Final = 4096


class Arrays(Source):
    """A pool held in memory.

    Args:
        inputs: ``[n, ...]``: uint8 images ``[n, height, width, channels]`` (or without channels), or
            floating-point rows. float64 becomes float32.
        labels: ``[n]`` class indices, or class names; ``-1`` for a sample without one. ``None``: none at all.
        classes: Names of the classes. By default the class indices as text, or the sorted names.
        name: For messages.
        names: A name for each sample, for messages.
        known_contents: The content hashes, where they were computed before.

    Raises:
        DataError: If the counts differ, a label is outside the classes, or a value is not finite.
    """

    def __init__(
        self,
        inputs: Tensor | NDArray[Any],
        labels: Tensor | NDArray[Any] | Sequence[int] | Sequence[str] | None,
        *,
        classes: Sequence[str] | None = None,
        name: str = "arrays",
        names: Sequence[str] | None = None,
        known_contents: Tensor | None = None,
    ) -> None:
        tensor = raw_tensor(inputs, name=name)
        indices, known = class_indices(labels, count=len(tensor), classes=classes, name=name)
        self._tensor = tensor
        super().__init__(
            name=name,
            contents=contents(tensor.numpy()) if known_contents is None else known_contents,
            labels=indices,
            classes=known,
            shape=tuple(tensor.shape[1:]),
            dtype=tensor.dtype,
            names=names,
        )
        refuse_non_finite(self)

    def _read(self, rows: Tensor) -> Tensor:
        return self._tensor.index_select(0, rows)


class Mapped(Source):
    """A pool in a memory-mapped array, for data larger than memory.

    Args:
        inputs: A memory map (``numpy.load(path, mmap_mode="r")``) of uint8 or float32, ``[n, ...]``.
        labels: As in :class:`Arrays`.
        classes: As in :class:`Arrays`.
        name: For messages.
        names: A name for each sample, for messages.
        known_contents: The content hashes, where they were computed before; otherwise every row is read once.
    """

    def __init__(
        self,
        inputs: NDArray[Any],
        labels: Tensor | NDArray[Any] | Sequence[int] | Sequence[str] | None,
        *,
        classes: Sequence[str] | None = None,
        name: str = "mapped arrays",
        names: Sequence[str] | None = None,
        known_contents: Tensor | None = None,
    ) -> None:
        if inputs.dtype not in (np.uint8, np.float32):
            raise DataError(
                f"{name}: a memory-mapped array must be uint8 or float32, got {inputs.dtype}. Convert it "
                "once and save it with numpy.save."
            )
        indices, known = class_indices(labels, count=len(inputs), classes=classes, name=name)
        self._array = inputs[..., None] if inputs.ndim == 3 and inputs.dtype == np.uint8 else inputs
        super().__init__(
            name=name,
            contents=_chunked_contents(inputs) if known_contents is None else known_contents,
            labels=indices,
            classes=known,
            shape=tuple(self._array.shape[1:]),
            dtype=torch.uint8 if inputs.dtype == np.uint8 else torch.float32,
            names=names,
        )
        refuse_non_finite(self)

    def _read(self, rows: Tensor) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self._array[rows.numpy()]))


def raw_tensor(inputs: Tensor | NDArray[Any], *, name: str) -> Tensor:
    """Inputs as Limbeck keeps them: uint8 images with their channels last, or float32.

    Raises:
        DataError: If they are of another type, or no rows at all.
    """
    tensor = (
        torch.from_numpy(np.require(inputs, requirements=["C", "W"]))
        if isinstance(inputs, np.ndarray)
        else inputs
    )
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dim() < 2 or len(tensor) == 0:
        raise DataError(
            f"{name}: inputs must be [samples, ...] with at least one sample, got {list(tensor.shape)}."
        )
    if tensor.dtype == torch.uint8:
        return tensor[..., None] if tensor.dim() == 3 else tensor
    if tensor.is_floating_point():
        return tensor.to(torch.float32)
    raise DataError(
        f"{name}: inputs must be uint8 (images) or floating point, got {tensor.dtype}. Convert them first."
    )


def read_arrays(path: Path, *, classes: Sequence[str] | None = None) -> Source:
    """A pool from files: an ``.npz`` file is read, a folder of ``.npy`` files is memory-mapped.

    Args:
        path: An ``.npz`` with ``inputs``, ``labels`` and perhaps ``classes``; or a folder with
            ``inputs.npy`` and ``labels.npy``. Labels may be missing: then no sample has one.
        classes: Names of the classes, where the file does not give them.

    Raises:
        DataError: If a file or an array is missing or cannot be read.
    """
    try:
        if path.is_dir():
            return _mapped_folder(path, classes)
        if path.suffix != ".npz":
            raise ValueError(f"it is no folder and its name ends in {path.suffix!r}")
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read: {error}. Expected an .npz file with arrays 'inputs' and 'labels' "
            "(saved by numpy.savez, no objects), or a folder with inputs.npy and labels.npy."
        ) from error
    if "inputs" not in held:
        raise DataError(f"{path} has no array 'inputs'; it holds {sorted(held)}. Save inputs=..., labels=...")
    named = (
        classes if classes is not None or "classes" not in held else [str(name) for name in held["classes"]]
    )
    return Arrays(held["inputs"], held.get("labels"), classes=named, name=str(path))


def _mapped_folder(folder: Path, classes: Sequence[str] | None) -> Source:
    inputs = np.load(folder / "inputs.npy", mmap_mode="r", allow_pickle=False)
    labels = folder / "labels.npy"
    given = np.load(labels, allow_pickle=False) if labels.exists() else None
    return Mapped(inputs, given, classes=classes, name=str(folder))


def _chunked_contents(array: NDArray[Any]) -> Tensor:
    starts = range(0, len(array), _CHUNK_ROWS)
    return torch.cat([contents(array[start : start + _CHUNK_ROWS]) for start in starts])
