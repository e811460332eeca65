"""Labels as class indices, whatever they come as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck.errors import DataError
from limbeck.types import ABSENT


def class_indices(
    labels: Tensor | NDArray[Any] | Sequence[int] | Sequence[str] | None,
    *,
    count: int,
    classes: Sequence[str] | None,
    name: str,
) -> tuple[Tensor, tuple[str, ...]]:
    """Labels as int64 class indices, and the names of the classes.

    Raises:
        DataError: If there are not as many labels as inputs, or one is outside the classes.
    """
    if labels is None:
        return torch.full((count,), ABSENT), tuple(classes or ())
    plain = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if plain.shape != (count,):
        raise DataError(
            f"{name}: {count} inputs but labels of shape {list(plain.shape)}; expected exactly one label "
            f"for each input. Give {ABSENT} to a sample without a label."
        )
    if plain.dtype.kind in "US":
        return _indices_of_names(plain.astype(str), classes, name)
    if plain.dtype.kind not in "iu" and not np.array_equal(plain, plain.astype(np.int64)):
        raise DataError(f"{name}: labels must be class indices or class names, got {plain.dtype} values.")
    indices = torch.from_numpy(plain.astype(np.int64))
    known = tuple(classes) if classes else tuple(str(index) for index in range(int(indices.max()) + 1))
    outside = ((indices < ABSENT) | (indices >= len(known))).nonzero()[:, 0]
    if len(outside):
        row = int(outside[0])
        raise DataError(
            f"{name}: the label of row {row} is {int(indices[row])}, outside the {len(known)} classes (0 "
            f"to {len(known) - 1}, or {ABSENT} for none; {len(outside)} such rows). Correct it or name all "
            "classes."
        )
    return indices, known


def _indices_of_names(
    plain: NDArray[Any], classes: Sequence[str] | None, name: str
) -> tuple[Tensor, tuple[str, ...]]:
    known = tuple(classes) if classes else tuple(sorted(set(plain.tolist())))
    place = {label: index for index, label in enumerate(known)}
    for row, label in enumerate(plain.tolist()):
        if label not in place:
            raise DataError(
                f"{name}: the label of row {row} is {label!r}, which is not one of the classes {known}."
            )
    return torch.tensor([place[label] for label in plain.tolist()], dtype=torch.int64), known
