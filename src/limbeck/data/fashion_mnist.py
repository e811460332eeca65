"""Fashion-MNIST: found in one of three places, verified, and unpacked once.

References:
    Xiao, Rasul & Vollgraf, `Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms
    <https://arxiv.org/abs/1708.07747>`_, 2017.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from limbeck.data.arrays import Arrays
from limbeck.errors import DataError, DiskError
from limbeck.files import cache_home, disk_errors, sha256, write_bytes

CLASSES: Final = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

PACKAGE: Final = "dataset-fashion-mnist"
_SYSTEM: Final = Path("/usr/share/datasets/fashion-mnist")
_TIMEOUT_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class Pinned:
    """One file of the data set: its name, and the SHA-256 of it packed and unpacked."""

    name: str
    packed: str
    unpacked: str


FILES: Final[dict[str, Pinned]] = {
    "train-images": Pinned(
        "train-images-idx3-ubyte",
        "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "train-labels": Pinned(
        "train-labels-idx1-ubyte",
        "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "test-images": Pinned(
        "t10k-images-idx3-ubyte",
        "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "test-labels": Pinned(
        "t10k-labels-idx1-ubyte",
        "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}


def fashion_mnist(*, online: bool = True) -> tuple[Arrays, Arrays]:
    """The training pool (60,000) and the test pool (10,000), uint8 [28, 28, 1].

    Unpacked copies are kept in the user's cache and verified each time, so the second call is quick.

    Args:
        online: Whether the data may be fetched where it is not on this machine.

    Raises:
        DataError: If it cannot be had in any way; the message names all of them.
    """
    arrays = {key: parse_idx(_unpacked(one, online=online), name=one.name) for key, one in FILES.items()}
    return (
        Arrays(arrays["train-images"], arrays["train-labels"], classes=CLASSES, name="fashion-mnist train"),
        Arrays(arrays["test-images"], arrays["test-labels"], classes=CLASSES, name="fashion-mnist test"),
    )


def find(*, online: bool = True) -> Path:
    """A folder with the four packed files, each verified.

    Args:
        online: Whether they may be fetched.

    Raises:
        DataError: If no way led to files with the pinned hashes.
    """
    cached = _home() / "packed"
    ways: list[tuple[str, Callable[[], Path]]] = [
        (f"the system's copy in {_SYSTEM} (sudo apt-get install {PACKAGE})", lambda: _SYSTEM),
        (f"an earlier download in {cached}", lambda: cached),
    ]
    ways += [
        (f"apt-get download {PACKAGE} (no root needed)", lambda: _fetched(_from_debian, cached, online)),
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            lambda: _fetched(_from_home, cached, online),
        ),
    ]
    failures = []
    for way, place in ways:
        try:
            folder = place()
            verify(folder)
        except (DataError, DiskError) as error:
            failures.append(f"  {way}: {error}")
        else:
            return folder
    raise DataError("\n".join(["Fashion-MNIST could not be had. Make one of these work:", *failures]))


def verify(folder: Path) -> None:
    """Check the four packed files against the pinned hashes.

    Raises:
        DataError: If one is missing or different.
    """
    for pinned in FILES.values():
        path = folder / f"{pinned.name}.gz"
        if not path.is_file():
            raise DataError(f"{path} does not exist.")
        if (found := sha256(path)) != pinned.packed:
            raise DataError(
                f"{path} is not the published file: its sha256 is {found[:16]}…, expected "
                f"{pinned.packed[:16]}…. Remove it and run the same command again."
            )


def parse_idx(data: bytes, *, name: str) -> NDArray[np.uint8]:
    """The array in an idx file of bytes.

    Raises:
        DataError: If the header is not that of an idx file of bytes, or the size differs from it.
    """
    dims = data[3] if len(data) >= 4 and data[:3] == b"\0\0\x08" else 0
    shape = tuple(int(size) for size in np.frombuffer(data[4 : 4 + 4 * dims], dtype=">u4"))
    if not dims or len(shape) != dims or len(data) != 4 + 4 * dims + int(np.prod(shape)):
        raise DataError(f"{name} is not an idx file of unsigned bytes, or is cut short ({len(data)} bytes).")
    return np.frombuffer(bytearray(data[4 + 4 * dims :]), dtype=np.uint8).reshape(shape)


def _home() -> Path:
    return cache_home() / "datasets" / "fashion-mnist"


def _unpacked(pinned: Pinned, *, online: bool) -> bytes:
    """One file, unpacked: from the copy in the cache if that is as published, else made and kept there."""
    path = _home() / pinned.name
    data = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(data).hexdigest() == pinned.unpacked:
        return data
    data = gzip.decompress((find(online=online) / f"{pinned.name}.gz").read_bytes())
    with suppress(DiskError):  # the copy only saves time
        write_bytes(path, data)
    return data


def _fetched(fetch: Callable[[Path], None], cached: Path, online: bool) -> Path:
    """Fetch into a temporary folder and move what is there into the cache; one process at a time."""
    if not online:
        raise DataError("not tried, because nothing may be fetched now.")
    with disk_errors(cached):
        cached.mkdir(parents=True, exist_ok=True)
    with FileLock(cached.parent / "packed.lock"), tempfile.TemporaryDirectory(dir=cached.parent) as name:
        with suppress(DataError):
            verify(cached)
            return cached
        fetch(Path(name))
        verify(Path(name))
        for pinned in FILES.values():
            shutil.move(Path(name) / f"{pinned.name}.gz", cached / f"{pinned.name}.gz")
    return cached


def _from_debian(folder: Path) -> None:
    if not (Path("/usr/bin/apt-get").exists() and Path("/usr/bin/dpkg-deb").exists()):
        raise DataError("this system has no apt-get and dpkg-deb.")
    options: dict[str, Any] = {
        "cwd": folder,
        "capture_output": True,
        "text": True,
        "timeout": _TIMEOUT_SECONDS,
    }
    try:
        answer = subprocess.run(
            ["/usr/bin/apt-get", "download", "dataset-fashion-mnist"], check=False, **options
        )
        packages = list(folder.glob("*.deb"))
        if answer.returncode or not packages:
            last = (answer.stderr.strip().splitlines() or ["no message"])[-1]
            raise DataError(f"it failed ({last}). If the package lists are missing: sudo apt-get update.")
        packages[0].rename(folder / "package.deb")
        subprocess.run(["/usr/bin/dpkg-deb", "-x", "package.deb", "."], check=True, **options)
    except (subprocess.SubprocessError, OSError) as error:
        raise DataError(f"it failed ({error}).") from error
    for path in (folder / _SYSTEM.relative_to("/")).glob("*.gz"):
        path.rename(folder / path.name)


def _from_home(folder: Path) -> None:
    for pinned in FILES.values():
        address = f"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{pinned.name}.gz"
        try:
            with urllib.request.urlopen(address, timeout=20) as answer:
                (folder / f"{pinned.name}.gz").write_bytes(answer.read())
        except OSError as error:
            raise DataError(f"it could not be reached ({error}).") from error
