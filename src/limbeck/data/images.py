"""A folder of images, one sub-folder a class: decoded once, kept in the user's cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from limbeck.data.arrays import Arrays, Mapped
from limbeck.data.content import contents
from limbeck.data.preprocessing import Preprocessing
from limbeck.data.source import Source
from limbeck.errors import DataError
from limbeck.files import cache_home, read_json, write_json, write_with
from limbeck.types import ABSENT, digest

_VERSION: Final = 1  # of the decoded copies


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    label: int
    name: str


def image_folder(
    folder: Path,
    preprocessing: Preprocessing,
    *,
    classes: Sequence[str] | None = None,
    unlabelled: Path | None = None,
    on_bad: Literal["error", "skip"] = "error",
    memory_limit_bytes: int = 2 << 30,
) -> Source:
    """The images of a folder as raw samples, uint8 [height, width, channels].

    The first call decodes every file and keeps the result in the user's cache; the copy is used again as
    long as no file's size or time changes. Files are named by their path within the folder.

    Args:
        folder: Holds one sub-folder a class (with any folders below).
        preprocessing: Its size and colour say how files are decoded; null ones follow the first image.
        classes: The class names that are expected (those of the training part). By default the sub-folders.
        unlabelled: Another folder, whose images (anywhere below it) are added without labels.
        on_bad: Whether a file that is not a readable image is an error, or is left out, and named in the source's
            ``left_out``.
        memory_limit_bytes: Above this, the decoded copy is memory-mapped.

    Raises:
        DataError: If a class is empty, a file cannot be read, or sizes differ and none is set.
    """
    known = tuple(classes) if classes is not None else _sub_folders(folder)
    files = _labelled_files(folder, known)
    if unlabelled is not None:
        files += _files(unlabelled, ABSENT, unlabelled.parent)
    if not files:
        raise DataError(f"{folder} holds no files. Expected images in one sub-folder a class.")
    copy = _decoded(files, preprocessing, on_bad)
    kept = [files[index] for index in read_json(copy / "kept.json")]
    array = np.load(copy / "inputs.npy", mmap_mode="r")[: len(kept)]
    small = array.nbytes <= memory_limit_bytes
    options: dict[str, Any] = {"classes": known, "name": str(folder), "names": [file.name for file in kept]}
    options["known_contents"] = torch.from_numpy(np.load(copy / "contents.npy"))
    labels = [file.label for file in kept]
    source = Arrays(np.array(array), labels, **options) if small else Mapped(array, labels, **options)
    there = set(kept)
    source.left_out = tuple(file.name for file in files if file not in there)
    return source


def _sub_folders(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. Expected a folder with one sub-folder of images a class.")
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not names:
        raise DataError(
            f"{folder} has no sub-folders. Expected one sub-folder of images a class, named as the class."
        )
    return tuple(names)


def _labelled_files(folder: Path, classes: Sequence[str]) -> list[_File]:
    if unknown := sorted(set(_sub_folders(folder)) - set(classes)):
        raise DataError(
            f"{folder} has sub-folders {unknown} that are no classes of the training part {list(classes)}."
        )
    loose = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if loose:
        raise DataError(f"{folder} holds {loose[0]!r} outside its class folders. Move it into one, or away.")
    return [file for label, name in enumerate(classes) for file in _files(folder / name, label, folder)]


def _files(folder: Path, label: int, top: Path) -> list[_File]:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. Expected images in it.")
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return [_File(path, label, path.relative_to(top).as_posix()) for path in paths]


def _decoded(files: Sequence[_File], preprocessing: Preprocessing, on_bad: str) -> Path:
    """The folder in the cache that holds inputs.npy, contents.npy and kept.json (which files are in them)."""
    facts = [(str(file.path.resolve()), file.path.stat()) for file in files]
    listing = [[path, fact.st_size, fact.st_mtime_ns, fact.st_ctime_ns] for path, fact in facts]
    wanted = [_VERSION, preprocessing.size, preprocessing.colour, on_bad, listing]
    copy = cache_home() / "datasets" / "images" / digest(wanted)
    if not (copy / "kept.json").exists():  # written last
        _decode(files, preprocessing, on_bad, copy)
    return copy


def _decode(files: Sequence[_File], preprocessing: Preprocessing, on_bad: str, copy: Path) -> None:
    kept: list[int] = []
    hashes: list[NDArray[np.int64]] = []

    def save(path: Path) -> None:
        array: NDArray[np.uint8] | None = None
        for index, file in enumerate(files):
            try:
                image = preprocessing.decode(file.path)
            except DataError:
                if on_bad == "error":
                    raise
                continue
            if array is None:
                array = np.lib.format.open_memmap(
                    path, "w+", dtype=np.uint8, shape=(len(files), *image.shape)
                )
            array[len(kept)] = _fitting(image, array.shape[1:], file.path)
            kept.append(index)
        if array is None:
            raise DataError(
                f"None of the {len(files)} files could be read as an image; the first is {files[0].path}."
            )
        hashes.append(contents(array[: len(kept)]).numpy())

    write_with(copy / "inputs.npy", save)
    write_with(copy / "contents.npy", lambda path: np.save(path, hashes[0]))
    write_json(copy / "kept.json", kept)


def _fitting(image: NDArray[np.uint8], shape: tuple[int, ...], path: Path) -> NDArray[np.uint8]:
    if image.shape != shape:
        raise DataError(
            f"{path} is {list(image.shape)} (height, width, channels) but the first image is "
            f"{list(shape)}. Set preprocessing.size and preprocessing.colour, so that all become alike."
        )
    return image
