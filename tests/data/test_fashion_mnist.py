"""Fashion-MNIST: verified wherever it comes from, unpacked once, and a clear message where it is not to be
had.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck.data import fashion_mnist as module
from limbeck.data.fashion_mnist import CLASSES, FILES, Pinned, fashion_mnist, find, parse_idx
from limbeck.errors import DataError
from limbeck.files import cache_home

USERS_CACHE = os.environ.get("LIMBECK_CACHE")


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(int(size).to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small data set of the same form, pinned, in the system's place; nothing can be fetched."""
    folder = tmp_path / "system"
    folder.mkdir()
    generator = np.random.default_rng(0)
    pinned = {}
    for key, one in FILES.items():
        count = 20 if key.startswith("train") else 10
        array = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        array = array if key.endswith("images") else (np.arange(count) % 10).astype(np.uint8)
        packed = gzip.compress(idx(array))
        (folder / f"{one.name}.gz").write_bytes(packed)
        hashes = [hashlib.sha256(data).hexdigest() for data in (packed, idx(array))]
        pinned[key] = Pinned(one.name, *hashes)
    monkeypatch.setattr(module, "FILES", pinned)
    monkeypatch.setattr(module, "_SYSTEM", folder)
    return folder


def test_the_system_copy_is_read_and_the_unpacked_copy_serves_the_next_time(system: Path) -> None:
    train, test = fashion_mnist(online=False)
    assert (len(train), len(test)) == (20, 10)
    assert train.shape == (28, 28, 1)
    assert train.classes == CLASSES
    for path in system.iterdir():
        path.unlink()
    again, _ = fashion_mnist(online=False)
    assert again.digest == train.digest


def test_a_damaged_unpacked_copy_is_made_again(system: Path) -> None:
    before, _ = fashion_mnist(online=False)
    copy = cache_home() / "datasets" / "fashion-mnist" / "train-images-idx3-ubyte"
    copy.write_bytes(copy.read_bytes()[:-1] + b"\0")
    after, _ = fashion_mnist(online=False)
    assert after.digest == before.digest
    assert copy.read_bytes() == idx(after.raw(torch.arange(20)).numpy()[..., 0])


def test_files_with_another_hash_are_refused_and_every_way_is_named(system: Path) -> None:
    path = system / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.zeros(10, dtype=np.uint8))))
    with pytest.raises(DataError) as caught:
        fashion_mnist(online=False)
    message = str(caught.value)
    assert f"{path} is not the published file" in message
    for way in (
        "apt-get install dataset-fashion-mnist",
        "apt-get download",
        "http://fashion-mnist.s3-website",
    ):
        assert way in message


def test_what_is_fetched_is_verified_before_it_is_kept(
    system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = {path.name: path.read_bytes() for path in system.iterdir()}
    monkeypatch.setattr(module, "_SYSTEM", tmp_path / "nowhere")

    def damaged(folder: Path) -> None:
        for name in published:
            (folder / name).write_bytes(b"damaged")

    def whole(folder: Path) -> None:
        for name, data in published.items():
            (folder / name).write_bytes(data)

    monkeypatch.setattr(module, "_from_debian", damaged)
    monkeypatch.setattr(module, "_from_home", damaged)
    with pytest.raises(DataError, match="is not the published file"):
        fashion_mnist()
    monkeypatch.setattr(module, "_from_home", whole)
    train, _ = fashion_mnist()
    assert len(train) == 20
    packed = cache_home() / "datasets" / "fashion-mnist" / "packed"
    assert sorted(path.name for path in packed.iterdir()) == sorted(published)


@pytest.mark.parametrize(
    "data", [b"", b"\0\0\x08", b"\0\0\x0d\x01\0\0\0\x01a", idx(np.zeros((3, 2), np.uint8))[:-1]]
)
def test_what_is_no_idx_file_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="is not an idx file"):
        parse_idx(data, name="file")


def test_the_published_data_is_what_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    if USERS_CACHE is None:
        monkeypatch.delenv("LIMBECK_CACHE")
    else:
        monkeypatch.setenv("LIMBECK_CACHE", USERS_CACHE)
    try:
        find(online=False)
    except DataError as error:
        pytest.skip(f"Fashion-MNIST is not on this machine: {error}")
    train, test = fashion_mnist(online=False)
    assert torch.bincount(train.labels).tolist() == [6000] * 10
    assert torch.bincount(test.labels).tolist() == [1000] * 10
    assert len(set(train.ids.tolist())) == 60_000
