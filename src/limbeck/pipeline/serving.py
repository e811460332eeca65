"""A finished student in use: raw samples in, classes and probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from limbeck.data import Preprocessing
from limbeck.errors import DataError, UserError
from limbeck.files import read_json
from limbeck.models import load_student

Raw = Any
"""One sample or many: an array, a path to an image, a Pillow image, or a list of these."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one sample."""

    label: str
    confidence: float
    probabilities: dict[str, float]
    """By class."""


class Served:
    """A student with its preprocessing and the names of its classes.

    Args:
        folder: The ``student`` folder of a run.
        build: Makes an untrained module, for a student that exists only in Python.
    """

    def __init__(self, folder: Path, *, build: Callable[[], nn.Module] | None = None) -> None:
        self.folder = folder
        self._build = build
        facts = read_json(folder / "preprocessing.json")
        self.classes: tuple[str, ...] = tuple(facts.pop("classes"))
        self.preprocessing = Preprocessing.model_validate(facts)

    @cached_property
    def module(self) -> nn.Module:
        """The student itself: preprocessed inputs in, logits out; in eval mode."""
        return load_student(self.folder, build=self._build)

    def logits(self, raw: Raw) -> NDArray[np.float32]:
        """Logits ``[samples, classes]`` for raw samples."""
        inputs = self.preprocessing.apply(torch.from_numpy(self._array(raw)))
        with torch.inference_mode():
            answers: NDArray[np.float32] = self.module(inputs).float().numpy()
        return answers

    def predict(self, raw: Raw) -> list[Prediction]:
        """Answers for raw samples, preprocessing included.

        Args:
            raw: uint8 images ``[samples, height, width, channels]`` (or one image), rows of features, a path to an
                image file, a Pillow image, or a list of these.

        Returns:
            One answer a sample; none for none.

        Raises:
            DataError: If the samples are not what the student takes.
        """
        if _nothing(raw):
            return []
        logits = torch.from_numpy(self.logits(raw))
        chances = logits.softmax(1)
        return [self._prediction(row) for row in chances.tolist()]

    def _prediction(self, row: list[float]) -> Prediction:
        best = max(range(len(row)), key=row.__getitem__)
        return Prediction(self.classes[best], row[best], dict(zip(self.classes, row, strict=True)))

    def _array(self, raw: Raw) -> NDArray[Any]:
        if isinstance(raw, torch.Tensor):
            raw = raw.numpy()
        if self.preprocessing.kind == "features":
            plain = np.asarray(raw, dtype=np.float32)
            return plain[None] if plain.ndim == 1 else plain
        if isinstance(raw, np.ndarray):
            return self._images(raw)
        samples = raw if isinstance(raw, Sequence) and not isinstance(raw, str) else [raw]
        return np.stack([self._image(sample) for sample in samples])

    def _image(self, sample: Raw) -> NDArray[np.uint8]:
        if isinstance(sample, (str, Path, Image.Image, np.ndarray)):
            return self.preprocessing.decode(sample)
        raise DataError(
            f"a sample must be an array, a path or a Pillow image, got {type(sample).__name__}. Convert it first."
        )

    def _images(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        if raw.dtype != np.uint8:
            raise DataError(
                f"images must be uint8 as they come from a file, got {raw.dtype}. Do not scale them first."
            )
        size, channels = self.preprocessing.size, 1 if self.preprocessing.colour == "grey" else 3
        if raw.ndim >= 3 and raw.shape[-1] == channels and size is not None and raw.shape[-3:-1] == size:
            return raw if raw.ndim == 4 else raw[None]
        if channels == 1 and size is not None and raw.ndim in (2, 3) and raw.shape[-2:] == size:
            return (raw if raw.ndim == 3 else raw[None])[..., None]
        if raw.ndim in (2, 3):
            return self.preprocessing.decode(raw)[None]
        first = raw.ndim == 4 and raw.shape[1] == channels
        cure = (
            "Put the channels last: images.transpose(0, 2, 3, 1)."
            if first
            else "Pass single images of other sizes; they are resized."
        )
        raise DataError(
            f"images must be [samples, {size[0] if size else 'height'}, {size[1] if size else 'width'}, {channels}], "
            f"got {list(raw.shape)}. {cure}"
        )


def _nothing(raw: Raw) -> bool:
    if isinstance(raw, (np.ndarray, torch.Tensor)):
        return tuple(raw.shape[:1]) == (0,)
    return isinstance(raw, (list, tuple)) and not raw


def served(run: Path, *, build: Callable[[], nn.Module] | None = None) -> Served:
    """The student of a run.

    Args:
        run: The run folder.
        build: Makes an untrained module, for a student that exists only in Python.

    Raises:
        UserError: If there is no finished student in it.
    """
    folder = run / "student"
    if not (folder / "preprocessing.json").exists():
        raise UserError(f"{run} holds no finished student. Run `limbeck run RECIPE --out {run}` to its end.")
    return Served(folder, build=build)
