"""Preprocessing: one definition, the same in torch, in numpy and as a module."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from limbeck.data import Arrays, Preprocessing
from limbeck.errors import DataError


def pool(channels: int) -> Arrays:
    images = np.random.default_rng(channels).integers(0, 256, (30, 5, 4, channels), dtype=np.uint8)
    return Arrays(images, np.arange(30) % 2)


def rows() -> Arrays:
    values = np.random.default_rng(0).normal(3, 2, (40, 6)).astype(np.float32)
    values[:, 2] = 7.3
    return Arrays(values, np.arange(40) % 2)


@pytest.mark.parametrize("kind", ["grey", "rgb", "features", "float images"])
def test_torch_numpy_and_module_agree(kind: str) -> None:
    if kind in ("grey", "rgb"):
        source, preprocessing = pool(1 if kind == "grey" else 3), Preprocessing()
    elif kind == "features":
        source, preprocessing = rows(), Preprocessing(kind="features")
    else:
        source = Arrays(torch.rand(10, 3, 4, 4), np.arange(10) % 2)
        preprocessing = Preprocessing(kind="features")
    fitted = preprocessing.fitted(source)
    raw = source.raw(torch.arange(len(source)))
    inputs = fitted.apply(raw)
    assert inputs.dtype == torch.float32
    assert inputs.is_contiguous()
    assert tuple(inputs.shape[1:]) == fitted.shape(source.shape)
    torch.testing.assert_close(torch.from_numpy(fitted.numpy(raw.numpy())), inputs, rtol=0, atol=1e-6)
    assert torch.equal(fitted.module()(raw), inputs)
    loaded = Preprocessing.model_validate_json(fitted.model_dump_json())
    assert torch.equal(loaded.apply(raw), inputs)


@pytest.mark.parametrize("channels", [1, 3])
def test_raw_undoes_apply_for_every_byte(channels: int) -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(16, 4, 4, 1).expand(16, 4, 4, channels)
    preprocessing = Preprocessing(mean=(0.1, 0.5, 0.9)[:channels], std=(0.2, 0.3, 3.0)[:channels])
    assert torch.equal(preprocessing.raw(preprocessing.apply(levels)), levels)
    beyond = torch.tensor([-99.0, 99.0]).reshape(2, 1, 1, 1).expand(2, channels, 1, 1)
    assert preprocessing.raw(beyond).flatten(1).tolist() == [[0] * channels, [255] * channels]


def test_raw_undoes_apply_for_features() -> None:
    fitted = Preprocessing(kind="features").fitted(rows())
    plain = rows().raw(torch.arange(40))
    torch.testing.assert_close(fitted.raw(fitted.apply(plain)), plain)


@pytest.mark.parametrize("channels", [1, 3])
def test_fitting_measures_what_numpy_measures(channels: int) -> None:
    source = pool(channels)
    fitted = Preprocessing().fitted(source)
    plain = source.raw(torch.arange(30)).numpy() / 255
    np.testing.assert_allclose(fitted.mean, plain.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(fitted.std, plain.std((0, 1, 2)), rtol=1e-5)
    assert fitted.size == (5, 4)
    assert fitted.colour == ("grey" if channels == 1 else "rgb")


def test_a_constant_feature_is_not_divided_by_zero() -> None:
    fitted = Preprocessing(kind="features").fitted(rows())
    assert fitted.std is not None
    assert fitted.std[2] == 1.0
    assert fitted.apply(rows().raw(torch.arange(40)))[:, 2].abs().max() < 1e-4


def test_what_is_given_is_not_measured() -> None:
    fitted = Preprocessing(mean=(0.25,)).fitted(pool(1))
    assert fitted.mean == (0.25,)
    assert Preprocessing(mean=(0.25,), std=(2.0,)).fitted(pool(1)).std == (2.0,)


@given(batch=st.integers(1, 30))
def test_a_sample_is_the_same_in_every_batch(batch: int) -> None:
    source = pool(3)
    fitted = Preprocessing().fitted(source)
    whole = fitted.apply(source.raw(torch.arange(30)))
    assert torch.equal(fitted.apply(source.raw(torch.arange(batch))), whole[:batch])


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I;16", "CMYK"])
def test_every_kind_of_image_file_becomes_what_was_asked_for(mode: str, tmp_path: Path) -> None:
    path = tmp_path / f"image.{'tiff' if mode == 'CMYK' else 'png'}"
    if mode == "I;16":
        Image.fromarray(np.full((6, 8), 40_000, dtype=np.uint16)).save(path)
    else:
        Image.new("RGB", (8, 6), (156, 156, 156)).convert(mode).save(path)
    for colour, channels in (("grey", 1), ("rgb", 3)):
        raw = Preprocessing(size=(3, 5), colour=colour).decode(path)
        assert raw.shape == (3, 5, channels)
        assert raw.dtype == np.uint8
        if mode in ("L", "RGB", "RGBA", "I;16"):
            assert int(raw.mean()) == 156


def test_decoding_what_needs_no_change_changes_nothing(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    for given_as in (image, Image.fromarray(image), tmp_path / "image.png", str(tmp_path / "image.png")):
        np.testing.assert_array_equal(Preprocessing(size=(6, 8), colour="rgb").decode(given_as), image)
    grey = image[..., :1]
    np.testing.assert_array_equal(Preprocessing().decode(grey), grey)


@pytest.mark.parametrize(
    ("preprocessing", "source", "message"),
    [
        (Preprocessing(), rows(), "Set preprocessing.kind to 'features'"),
        (Preprocessing(kind="features"), pool(1), "Set preprocessing.kind to 'image'"),
        (Preprocessing(size=(9, 9)), pool(1), r"preprocessing.size is \(9, 9\)"),
        (Preprocessing(colour="rgb"), pool(1), "preprocessing.colour is 'rgb'"),
        (Preprocessing(mean=(0.1, 0.2)), pool(3), "preprocessing.mean has 2 values"),
        (Preprocessing(), pool(4), "1 or 3 channels"),
    ],
)
def test_data_that_does_not_fit_is_refused(
    preprocessing: Preprocessing, source: Arrays, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        preprocessing.fitted(source)


def test_what_was_not_fitted_cannot_be_applied() -> None:
    with pytest.raises(DataError, match="call fitted"):
        Preprocessing().apply(torch.zeros(1, 2, 2, 1, dtype=torch.uint8))
