"""Lengths, directions and angles, where formulas in inner products would lose them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from limbeck.losses.geometry import cosines, directions, distances, pair_count, products, selves
from limbeck.losses.widening import widened


@st.composite
def clouds(draw: st.DrawFn) -> Tensor:
    rows, width = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    numbers = st.integers(-24, 24).map(lambda eighths: eighths / 8)
    drawn = draw(st.lists(numbers, min_size=rows * width, max_size=rows * width))
    return torch.tensor(drawn, dtype=torch.float64).reshape(rows, width)


@given(cloud=clouds())
def test_distances_are_lengths_of_differences(cloud: Tensor) -> None:
    rows = cloud.numpy()
    expected = np.array([[np.linalg.norm(one - other) for other in rows] for one in rows])
    torch.testing.assert_close(distances(cloud), torch.from_numpy(expected))


@given(cloud=clouds())
def test_cosines_are_those_of_the_angles_and_0_beside_a_row_of_zeros(cloud: Tensor) -> None:
    rows = cloud.numpy()
    lengths = np.linalg.norm(rows, axis=1)
    expected = np.zeros((len(rows), len(rows)))
    for i, j in np.ndindex(*expected.shape):
        if lengths[i] > 0 and lengths[j] > 0:
            expected[i, j] = rows[i] @ rows[j] / (lengths[i] * lengths[j])
    torch.testing.assert_close(cosines(cloud), torch.from_numpy(expected))


def test_close_rows_far_from_the_origin_keep_their_distance() -> None:
    cloud = torch.tensor([[4096.0, 0.0], [4096.0, 0.0009765625]])
    assert distances(cloud)[0, 1] == 0.0009765625


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_directions_have_length_one_at_every_scale(scale: float) -> None:
    rows = scale * torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(directions(rows).norm(dim=-1), torch.ones(4))


def test_a_row_of_zeros_has_no_direction_and_gets_no_gradient() -> None:
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    found = directions(rows)
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.0], [0.6, 0.8]]))
    (found * torch.tensor([1.0, 2.0])).sum().backward()
    assert rows.grad is not None
    assert (rows.grad[0] == 0).all()
    assert rows.grad[1].abs().sum() > 0


def test_equal_rows_get_no_gradient_from_their_distance() -> None:
    rows = torch.tensor([[1.0, 2.0], [1.0, 2.0]], requires_grad=True)
    distances(rows).sum().backward()
    assert rows.grad is not None
    assert (rows.grad == 0).all()


def test_distances_have_the_gradient_of_their_value() -> None:
    rows = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(distances, [rows])
    assert torch.autograd.gradgradcheck(distances, [rows])


def test_products_keep_their_format_under_autocast() -> None:
    rows = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        found = products(rows, rows)
    torch.testing.assert_close(found, rows @ rows.T, rtol=0, atol=0)


def test_formats_are_widened_to_one() -> None:
    half, single, double = (torch.ones(1, dtype=dtype) for dtype in (torch.half, torch.float, torch.double))
    assert [side.dtype for side in widened(half, half.bfloat16())] == [torch.float32] * 2
    assert [side.dtype for side in widened(half, single)] == [torch.float32] * 2
    assert [side.dtype for side in widened(half, double)] == [torch.float64] * 2


def test_pairs_are_those_off_the_diagonal() -> None:
    for rows in range(5):
        assert int((~selves(torch.zeros(2, rows, rows))).sum()) == pair_count(rows)
