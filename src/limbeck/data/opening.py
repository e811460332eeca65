"""From the ``data`` part of a recipe to the pools it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from limbeck.data.arrays import read_arrays
from limbeck.data.config import AnyData, ArrayFiles, Digits, FashionMNIST, ImageFolder, ObjectData
from limbeck.data.digits import digits
from limbeck.data.fashion_mnist import fashion_mnist
from limbeck.data.images import image_folder
from limbeck.data.preprocessing import Preprocessing
from limbeck.data.python import python_parts
from limbeck.data.source import Source
from limbeck.data.splits import Parts, Splits, split
from limbeck.errors import DataError


def load(config: AnyData, preprocessing: Preprocessing) -> Splits:
    """Read the data and divide it.

    Args:
        config: The ``data`` part of a recipe.
        preprocessing: Only its size and colour matter here: they say how image files are decoded.

    Raises:
        DataError: If the data cannot be had, read, divided, or trained on.
    """
    return split(parts(config, preprocessing), config)


def parts(config: AnyData, preprocessing: Preprocessing) -> Parts:
    """Read the data as it comes.

    Args:
        config: The ``data`` part of a recipe.
        preprocessing: Says how image files are decoded.

    Raises:
        DataError: If it cannot be had or read.
    """
    match config:
        case FashionMNIST():
            train, test = fashion_mnist()
            return Parts(train, test=test)
        case Digits():
            return Parts(digits())
        case ObjectData():
            raise DataError(
                f"The data {config.name!r} was passed as a Python object, so it cannot be read from the "
                "recipe. Run it from Python again, or name a function with data: {kind: python, python: ...}."
            )
        case ArrayFiles():
            return _array_parts(config)
        case ImageFolder():
            return _image_parts(config, preprocessing)
        case _:
            return python_parts(config)


def _array_parts(config: ArrayFiles) -> Parts:
    train = read_arrays(config.path, classes=config.classes)
    validation, test = (
        None if path is None else read_arrays(path, classes=train.classes)
        for path in (config.validation_path, config.test_path)
    )
    return Parts(train, validation, test)


def _image_parts(config: ImageFolder, preprocessing: Preprocessing) -> Parts:
    def opened(folder: Path, decoding: Preprocessing, **options: Any) -> Source:
        limit = config.memory_limit_bytes
        return image_folder(folder, decoding, on_bad=config.on_bad, memory_limit_bytes=limit, **options)

    train = opened(config.folder, preprocessing, unlabelled=config.unlabelled_folder)
    height, width, channels = train.shape
    colour = "grey" if channels == 1 else "rgb"
    alike = preprocessing.model_copy(update={"size": (height, width), "colour": colour})
    validation, test = (
        None if folder is None else opened(folder, alike, classes=train.classes)
        for folder in (config.validation_folder, config.test_folder)
    )
    return Parts(train, validation, test)
