"""A folder of images: the same pool in any order and from the cache, and bad files are named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limbeck.data import Arrays, Augmentation, ImageFolder, Mapped, Preprocessing, Stream, image_folder, load
from limbeck.data import images as images_module
from limbeck.errors import DataError

CLASSES = ("cat", "dog")


def write(folder: Path, names: list[str], seed: int = 0) -> np.ndarray:
    images = np.random.default_rng(seed).integers(0, 256, (len(names), 6, 5, 3), dtype=np.uint8)
    for image, name in zip(images, names, strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "pets", [f"{CLASSES[row % 2]}/{row:02}.png" for row in range(30)])
    return tmp_path / "pets"


def test_classes_are_the_sub_folders_and_samples_the_files(folder: Path) -> None:
    source = image_folder(folder, Preprocessing())
    assert source.classes == CLASSES
    assert source.shape == (6, 5, 3)
    assert source.names is not None
    for row, name in enumerate(source.names):
        assert source.classes[int(source.labels[row])] == Path(name).parent.name
        np.testing.assert_array_equal(
            source.raw(torch.tensor([row]))[0].numpy(), np.asarray(Image.open(folder / name))
        )


def test_renamed_and_reordered_files_keep_ids_splits_and_views(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    order = np.random.default_rng(1).permutation(30)
    for row in range(30):
        name = CLASSES[row % 2]
        (moved / name / "deep").mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name / f"{row:02}.png", moved / name / "deep" / f"{order[row]}.png")
    views = []
    for place in (folder, moved):
        splits = load(ImageFolder(folder=place, validation=6, test=6, labelled=8), Preprocessing())
        preprocessing = Preprocessing().fitted(splits.train)
        stream = Stream(
            splits.train,
            preprocessing,
            batch_examples=4,
            seed=0,
            labelled=splits.labelled,
            augmentation=Augmentation(shift=1, flip=True),
        )
        batches = [stream.batch(number) for number in range(6)]
        views.append(
            [
                *(set(part.ids.tolist()) for part in (splits.train, splits.validation, splits.test)),
                [part.digest for part in (splits.train, splits.validation, splits.test)],
                torch.cat([batch.inputs for batch in batches]).tolist(),
                torch.cat([batch.labels for batch in batches]).tolist(),
            ]
        )
    assert views[0] == views[1]


def test_the_second_reading_decodes_nothing_and_gives_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = image_folder(folder, Preprocessing())
    monkeypatch.setattr(images_module, "_decode", None)
    second = image_folder(folder, Preprocessing())
    assert first.digest == second.digest
    mapped = image_folder(folder, Preprocessing(), memory_limit_bytes=10)
    assert isinstance(first, Arrays)
    assert isinstance(mapped, Mapped)
    assert mapped.digest == first.digest
    rows = torch.tensor([4, 29, 0])
    assert torch.equal(mapped.raw(rows), first.raw(rows))


def test_a_changed_file_is_decoded_again(folder: Path) -> None:
    before = image_folder(folder, Preprocessing())
    write(folder, ["cat/00.png"], seed=9)
    assert image_folder(folder, Preprocessing()).digest != before.digest


def test_files_are_resized_and_converted(folder: Path) -> None:
    assert image_folder(folder, Preprocessing(size=(8, 7), colour="grey")).shape == (8, 7, 1)


@pytest.mark.parametrize("kind", ["text", "cut short", "empty"])
def test_an_unreadable_image_is_named_or_skipped(folder: Path, kind: str) -> None:
    whole = (folder / "cat" / "00.png").read_bytes()
    bad = {"text": b"not an image", "cut short": whole[: len(whole) // 2], "empty": b""}[kind]
    (folder / "cat" / "04.png").write_bytes(bad)
    with pytest.raises(DataError, match=r"cat/04\.png cannot be read as an image"):
        image_folder(folder, Preprocessing())
    for _ in range(2):  # decoded, then from the cache
        source = image_folder(folder, Preprocessing(), on_bad="skip")
        assert source.left_out == source.subset(torch.arange(3)).left_out == ("cat/04.png",)
        assert len(source) == 29
        assert source.names is not None
        row = source.names.index("cat/06.png")
        np.testing.assert_array_equal(
            source.raw(torch.tensor([row]))[0].numpy(), np.asarray(Image.open(folder / "cat/06.png"))
        )


def test_images_of_different_size_are_refused_by_name(folder: Path) -> None:
    Image.new("RGB", (9, 9)).save(folder / "dog" / "odd.png")
    with pytest.raises(DataError, match=r"dog/odd\.png is \[9, 9, 3\]"):
        image_folder(folder, Preprocessing())


def test_an_empty_class_is_refused(folder: Path) -> None:
    (folder / "emu").mkdir()
    with pytest.raises(DataError, match="no training sample belongs to class 'emu'"):
        load(ImageFolder(folder=folder), Preprocessing())


def test_a_folder_of_another_shape_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        image_folder(tmp_path / "missing", Preprocessing())
    with pytest.raises(DataError, match="no sub-folders"):
        image_folder(folder / "cat", Preprocessing())
    write(folder, ["loose.png"])
    with pytest.raises(DataError, match=r"'loose\.png' outside its class folders"):
        image_folder(folder, Preprocessing())


def test_own_parts_share_classes_and_unlabelled_images_join_training(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "test", ["dog/a.png", "cat/b.png"], seed=1)
    write(tmp_path / "more", ["x.png", "deep/y.png"], seed=2)
    config = ImageFolder(
        folder=folder, test_folder=tmp_path / "test", unlabelled_folder=tmp_path / "more", validation=4
    )
    splits = load(config, Preprocessing())
    assert len(splits.test) == 2
    assert len(splits.train) == 30 - 4 + 2
    assert len(splits.labelled) == 26
    write(tmp_path / "test", ["emu/c.png"], seed=3)
    with pytest.raises(DataError, match=r"\['emu'\] that are no classes"):
        load(config, Preprocessing())
