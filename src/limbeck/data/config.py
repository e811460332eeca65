"""Which data a recipe uses, and how it is divided. Nothing is read here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt

from limbeck.types import Frozen

_FUNCTION = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"


def _amount(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("must be a whole number of samples, or a share of them between 0 and 1 (like 0.1)")
    if (isinstance(value, int) and value < 1) or (isinstance(value, float) and not 0 < value < 1):
        raise ValueError("must be at least 1 sample, or a share of them between 0 and 1 (like 0.1)")
    return value


def _amount_or_all(value: object) -> object:
    return value if value == "all" else _amount(value)


Amount = Annotated[int | float, BeforeValidator(_amount)]
"""A whole number of samples, or a share of them strictly between 0 and 1."""


class Division(Frozen):
    """How a pool is divided: stratified by class, drawn by the hash of each sample's id."""

    validation: Amount | None = None
    """Samples (or share) held out of training to choose by. Null: the data's own part, else a tenth."""

    test: Amount | None = None
    """Samples (or share) measured on once, at the end. Null: the data's own test part, else a fifth."""

    labelled: Annotated[int | float | Literal["all"], BeforeValidator(_amount_or_all)] = "all"
    """How many labels of the training pool the student's maker has (or share of them); the other samples are
    used without."""

    seed: NonNegativeInt = 0
    """Of the division."""

    limit: PositiveInt | None = None
    """At most so many samples in each part, for a trial run."""


class FashionMNIST(Division):
    """60,000 + 10,000 grey images of clothes, 28 by 28, ten classes (Xiao, Rasul & Vollgraf, 2017)."""

    kind: Literal["fashion-mnist"] = "fashion-mnist"


class Digits(Division):
    """1,797 grey images of digits, 8 by 8, ten classes; they come with scikit-learn."""

    kind: Literal["digits"] = "digits"


class ArrayFiles(Division):
    """Arrays in files: an .npz with inputs and labels, or a folder with inputs.npy and labels.npy
    (mapped).
    """

    kind: Literal["arrays"] = "arrays"

    path: Path
    """The pool to train on, from which the missing parts are cut."""

    validation_path: Path | None = None
    """A validation part of its own."""

    test_path: Path | None = None
    """A test part of its own."""

    classes: tuple[str, ...] | None = None
    """Names of the classes, by index. Null: as the file says, else the indices."""


class ImageFolder(Division):
    """Image files, one sub-folder a class."""

    kind: Literal["images"] = "images"

    folder: Path
    """The pool to train on, from which the missing parts are cut."""

    validation_folder: Path | None = None
    """A validation part of its own."""

    test_folder: Path | None = None
    """A test part of its own."""

    unlabelled_folder: Path | None = None
    """Images without labels (no sub-folders needed), added to the training pool."""

    on_bad: Literal["error", "skip"] = "error"
    """What to do with a file that cannot be read as an image. Skipped files are counted and named."""

    memory_limit_bytes: PositiveInt = 2 << 30
    """Decoded images above this are memory-mapped instead of held in memory."""


class PythonData(Division):
    """A function of the user's, which returns data.

    It returns a torch Dataset, a pair (inputs, labels), or a mapping of such parts with the keys train,
    validation and test (the last two may be missing) and perhaps classes (their names).
    """

    kind: Literal["python"] = "python"

    python: Annotated[str, Field(pattern=_FUNCTION, examples=["package.module:function"])]
    """``package.module:function``; found on the Python path or in the folder the command is run in."""

    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the function."""

    workers: NonNegativeInt = 0
    """Processes of the DataLoader that reads a Dataset; 0: none."""

    memory_limit_bytes: PositiveInt = 2 << 30
    """A Dataset below this is read once and held in memory."""


class ObjectData(Division):
    """Stands in a resolved recipe for samples that were passed in Python, and cannot be read again."""

    kind: Literal["object"] = "object"

    name: str
    """What messages call them."""

    digest: str
    """Changes with any sample or label."""


AnyData = Annotated[
    FashionMNIST | Digits | ArrayFiles | ImageFolder | PythonData | ObjectData, Field(discriminator="kind")
]
"""The ``data`` part of a recipe."""
