"""The priors on made inputs, against the definition in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from torch import nn

from limbeck.losses.naturalness import roughness, statistics_gap

Values = NDArray[np.float64]
numbers = st.floats(-10, 10)
shapes = st.sampled_from([(4, 3), (2, 3, 5), (3, 2, 2, 4)])


def features() -> st.SearchStrategy[Values]:
    return shapes.flatmap(lambda shape: arrays.arrays(np.float64, shape, elements=numbers))


def gap(batch: Values, mean: Values, variance: Values) -> float:
    columns = [np.ravel(batch[:, channel]) for channel in range(batch.shape[1])]
    means = [column.sum() / len(column) - m for column, m in zip(columns, mean, strict=True)]
    variances = [
        ((column - column.mean()) ** 2).sum() / (len(column) - 1) - v
        for column, v in zip(columns, variance, strict=True)
    ]
    return float(np.sqrt(np.sum(np.square(means))) + np.sqrt(np.sum(np.square(variances))))


@given(batch=features(), data=st.data())
def test_the_gap_equals_the_definition(batch: Values, data: st.DataObject) -> None:
    channels = arrays.arrays(np.float64, batch.shape[1], elements=st.floats(0, 10))
    mean, variance = data.draw(channels), data.draw(channels)
    found = statistics_gap(*(torch.from_numpy(each) for each in (batch, mean, variance)))
    np.testing.assert_allclose(found, gap(batch, mean, variance), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(9, 4), (6, 4, 3, 5)])
def test_the_gap_is_zero_for_the_batch_that_batchnorm_has_seen(shape: tuple[int, ...]) -> None:
    batch = torch.randn(shape, dtype=torch.float64) * 3 + 1
    layer = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(4, momentum=None).double()
    layer(batch)
    found = statistics_gap(batch, layer.running_mean, layer.running_var)
    assert found < 1e-12
    assert statistics_gap(batch + 0.1, layer.running_mean, layer.running_var) > 0.1


def test_the_gap_has_a_gradient_where_it_is_zero() -> None:
    batch = torch.tensor([[1.0], [3.0]], requires_grad=True)
    statistics_gap(batch, torch.tensor([2.0]), torch.tensor([2.0])).backward()
    assert torch.isfinite(batch.grad).all()


@given(batch=features(), seed=st.integers(0, 100))
def test_the_gap_is_blind_to_the_order_of_the_examples(batch: Values, seed: int) -> None:
    mixed = np.random.default_rng(seed).permutation(batch)
    mean, variance = torch.zeros(batch.shape[1]).double(), torch.ones(batch.shape[1]).double()
    one, other = (statistics_gap(torch.from_numpy(each), mean, variance) for each in (batch, mixed))
    torch.testing.assert_close(one, other)


images = arrays.arrays(np.float64, (2, 2, 3, 4), elements=numbers)


@given(batch=images)
def test_roughness_equals_the_definition(batch: Values) -> None:
    for image, found in zip(batch, roughness(torch.from_numpy(batch)), strict=True):
        down = [
            abs(image[c, i + 1, j] - image[c, i, j]) for c in range(2) for i in range(2) for j in range(4)
        ]
        right = [
            abs(image[c, i, j + 1] - image[c, i, j]) for c in range(2) for i in range(3) for j in range(3)
        ]
        np.testing.assert_allclose(found, np.mean(down) + np.mean(right), rtol=1e-9, atol=1e-9)


@given(batch=images, shift=numbers, factor=st.floats(0.1, 10))
def test_roughness_ignores_brightness_and_grows_with_contrast(
    batch: Values, shift: float, factor: float
) -> None:
    plain = torch.from_numpy(batch)
    torch.testing.assert_close(roughness(plain * factor + shift), roughness(plain) * factor)


def test_an_even_image_is_not_rough() -> None:
    assert roughness(torch.full((1, 3, 4, 4), 7.0)) == 0
