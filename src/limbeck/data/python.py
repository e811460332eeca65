"""Data made by the user's own code, and objects that Python users hand over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import Dataset

from limbeck.data.arrays import Arrays
from limbeck.data.config import PythonData
from limbeck.data.source import Source
from limbeck.data.splits import Parts
from limbeck.data.torch_dataset import from_dataset
from limbeck.errors import DataError, nearest
from limbeck.importing import import_function


def as_source(
    value: Any,
    *,
    name: str,
    classes: Sequence[str] | None = None,
    workers: int = 0,
    memory_limit_bytes: int = 2 << 30,
) -> Source:
    """A pool from what Python users have.

    Args:
        value: A :class:`Source`, a map-style torch Dataset, or a pair (inputs, labels) of arrays or tensors.
        name: For messages.
        classes: Names of the classes.
        workers: Processes that read a Dataset; 0: none.
        memory_limit_bytes: A Dataset below this is kept in memory.

    Raises:
        DataError: If it is none of these, or its samples cannot be used.
    """
    if isinstance(value, Source):
        return value
    if isinstance(value, Dataset):
        return from_dataset(
            value, classes=classes, name=name, workers=workers, memory_limit_bytes=memory_limit_bytes
        )
    if isinstance(value, tuple) and len(value) == 2:
        return Arrays(value[0], value[1], classes=classes, name=name)
    raise DataError(
        f"{name} must be a torch Dataset, a pair (inputs, labels) or a limbeck.data.Source, got "
        f"{type(value).__name__}."
    )


def python_parts(config: PythonData) -> Parts:
    """Import the user's function, call it, and read what it returns.

    Raises:
        DataError: If there is no such function, it fails, or it returns something else.
    """
    function = import_function(config.python, owner="data.python", refusal=DataError)
    try:
        answer = function(**config.arguments)
    except Exception as error:
        raise DataError(
            f"data.python: {config.python} failed with arguments {config.arguments}: "
            f"{type(error).__name__}: {error}"
        ) from error
    parts = dict(answer) if isinstance(answer, Mapping) else {"train": answer}
    classes = parts.pop("classes", None)
    for key in parts:
        if key not in ("train", "validation", "test"):
            expected = ("train", "validation", "test", "classes")
            raise DataError(f"data.python: {config.python} returned a part {key!r}.{nearest(key, expected)}")
    options: dict[str, Any] = {"workers": config.workers, "memory_limit_bytes": config.memory_limit_bytes}
    sources: dict[str, Source] = {}
    for key in ("train", "validation", "test"):
        if parts.get(key) is not None:
            classes = classes if key == "train" else sources["train"].classes
            sources[key] = as_source(parts[key], name=f"{config.python} {key}", classes=classes, **options)
        elif key == "train":
            raise DataError(f"data.python: {config.python} returned no part 'train'.")
    return Parts(sources["train"], sources.get("validation"), sources.get("test"))
