"""The laws of distances between feature maps over space, against the definitions in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from limbeck.losses.maps import attention_map, attention_transfer, hierarchical_context, of_one_size

Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
every_loss = pytest.mark.parametrize("loss", [attention_transfer, hierarchical_context])
sizes = st.integers(1, 9)


@st.composite
def map_pairs(draw: st.DrawFn) -> Pair:
    """Feature maps of one shape, with some zeros."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(sizes), draw(sizes))
    student, teacher = random_pair(shape, shape, seed=draw(st.integers(0, 2**32)))
    return student.relu() if draw(st.booleans()) else student, teacher


def random_pair(student: tuple[int, ...], teacher: tuple[int, ...], seed: int = 0) -> Pair:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(student, dtype=torch.float64, generator=generator),
        torch.randn(teacher, dtype=torch.float64, generator=generator),
    )


def rotation(width: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.linalg.qr(torch.randn(width, width, dtype=torch.float64, generator=generator))[0]


def pooled(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Means over windows that cover a channel ``[height, width]`` evenly, overlapping where they have to."""

    def window(place: int, count: int, length: int) -> slice:
        return slice(place * length // count, -(-(place + 1) * length // count))

    rows, columns = image.shape
    return np.array(
        [
            [image[window(i, height, rows), window(j, width, columns)].mean() for j in range(width)]
            for i in range(height)
        ]
    )


def map_definition(features: np.ndarray, power: float = 2.0) -> np.ndarray:
    strengths = [
        np.mean([np.abs(channel) ** power for channel in sample], axis=0).ravel() for sample in features
    ]
    return np.array([s / np.linalg.norm(s) if s.any() else s for s in strengths])


def transfer_definition(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    return ((map_definition(student) - map_definition(teacher)) ** 2).mean(1)


def context_definition(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    height, width = student.shape[2:]
    levels = [(height, width)] + [(size, size) for size in (4, 2, 1) if size < height and size < width]
    found = np.zeros(len(student))
    share, shares = 1.0, 0.0
    for level in levels:
        for row in range(len(student)):
            errors = [
                (pooled(ours, *level) - pooled(theirs, *level)) ** 2
                for ours, theirs in zip(student[row], teacher[row], strict=True)
            ]
            found[row] += share * np.mean(errors)
        shares += share
        share /= 2
    return found / shares


DEFINITIONS = {attention_transfer: transfer_definition, hierarchical_context: context_definition}


@every_loss
@given(pair=map_pairs())
def test_equals_the_definition(loss: Loss, pair: Pair) -> None:
    expected = torch.from_numpy(DEFINITIONS[loss](*(side.numpy() for side in pair)))
    torch.testing.assert_close(loss(*pair), expected, rtol=1e-9, atol=1e-12)
    single = loss(pair[0].float(), pair[1].float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-6)


@given(pair=map_pairs(), power=st.sampled_from([1.0, 2.0, 3.0, 4.0]))
def test_attention_map_equals_the_definition(pair: Pair, power: float) -> None:
    expected = torch.from_numpy(map_definition(pair[0].numpy(), power))
    torch.testing.assert_close(attention_map(pair[0], power=power), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-9, 1e4, 1e9])
def test_no_power_drives_an_attention_map_out_of_single_precision(scale: float) -> None:
    features = random_pair((2, 3, 4, 4), (1,))[0].float()
    found = attention_map(scale * features, power=4.0)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(found, attention_map(features, power=4.0), rtol=1e-4, atol=1e-6)


@every_loss
@given(pair=map_pairs())
def test_is_not_negative_and_zero_where_both_agree(loss: Loss, pair: Pair) -> None:
    assert (loss(*pair) >= 0).all()
    assert (loss(pair[0], pair[0].clone()) == 0).all()


@given(scale=st.floats(0.001, 1000))
def test_attention_ignores_scale_sign_and_orthogonal_mixing_of_each_sample(scale: float) -> None:
    student, teacher = random_pair((3, 4, 5, 5), (3, 6, 5, 5))
    expected = attention_transfer(student, teacher)
    assert (expected > 1e-4).all()
    signs = torch.tensor([scale, -1.0, 2.0], dtype=torch.float64).view(3, 1, 1, 1)
    for ours, theirs in (
        (signs * torch.einsum("dc,bchw->bdhw", rotation(4), student), teacher),
        (student, signs * torch.einsum("dc,bchw->bdhw", rotation(6), teacher)),
    ):
        torch.testing.assert_close(attention_transfer(ours, theirs), expected)


def test_attention_sees_where_a_map_is_strong() -> None:
    student = random_pair((3, 4, 5, 5), (1,))[0]
    assert (attention_transfer(student.flip(-1), student) > 1e-4).all()


@pytest.mark.parametrize(
    ("student_size", "teacher_size"), [((8, 8), (4, 4)), ((3, 5), (7, 5)), ((6, 3), (4, 7)), ((7, 5), (2, 3))]
)
def test_attention_pools_the_larger_to_the_smaller(
    student_size: tuple[int, int], teacher_size: tuple[int, int]
) -> None:
    student, teacher = random_pair((2, 3, *student_size), (2, 5, *teacher_size))
    height, width = (min(ends) for ends in zip(student_size, teacher_size, strict=True))
    small = [
        np.array([[pooled(channel, height, width) for channel in sample] for sample in side.numpy()])
        for side in (student, teacher)
    ]
    for found, expected in zip(of_one_size(student, teacher), small, strict=True):
        torch.testing.assert_close(found, torch.from_numpy(expected))
    expected = torch.from_numpy(transfer_definition(*small))
    torch.testing.assert_close(attention_transfer(student, teacher), expected)


def test_context_of_a_constant_error_is_its_square_at_every_size() -> None:
    for size in (1, 2, 3, 4, 5, 8):
        student = random_pair((1, 2, size, size), (1,))[0]
        expected = torch.tensor([0.25], dtype=torch.float64)
        torch.testing.assert_close(hierarchical_context(student + 0.5, student), expected)


def test_context_weighs_the_levels_by_halves() -> None:
    error = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    error[0, 0, 0, 0] = 8.0  # mean squares: 64 / 64, then (8 / 4)² / 16, (8 / 16)² / 4, (8 / 64)²
    expected = (1 + 0.25 / 2 + 0.0625 / 4 + 0.015625 / 8) / (1 + 1 / 2 + 1 / 4 + 1 / 8)
    found = hierarchical_context(error, torch.zeros_like(error))
    torch.testing.assert_close(found, torch.tensor([expected], dtype=torch.float64))


def test_context_is_the_squared_error_where_a_map_has_one_pixel() -> None:
    student, teacher = random_pair((3, 4, 1, 1), (3, 4, 1, 1))
    torch.testing.assert_close(
        hierarchical_context(student, teacher), (student - teacher).square().mean((1, 2, 3))
    )


@every_loss
@pytest.mark.parametrize("size", [3, 5])
def test_has_the_gradient_of_its_value(loss: Loss, size: int) -> None:
    shape = (2, 2, size, size)
    assert torch.autograd.gradcheck(loss, [side.requires_grad_() for side in random_pair(shape, shape)])


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_attention_map_has_the_gradient_of_its_value(power: float) -> None:
    features = random_pair((2, 3, 2, 2), (1,))[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: attention_map(rows, power=power), [features])


def test_attention_between_sizes_has_the_gradient_of_its_value() -> None:
    sides = [side.requires_grad_() for side in random_pair((2, 2, 5, 3), (2, 3, 2, 4))]
    assert torch.autograd.gradcheck(attention_transfer, sides)


@every_loss
def test_rows_are_alone(loss: Loss) -> None:
    student, teacher = random_pair((3, 4, 5, 5), (3, 4, 5, 5))
    apart = [loss(student[row : row + 1], teacher[row : row + 1]) for row in range(3)]
    torch.testing.assert_close(loss(student, teacher), torch.cat(apart))


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("value", [0.0, 1.0, 1e4, -1e4])
def test_zeros_constants_and_extremes_stay_finite(loss: Loss, dtype: torch.dtype, value: float) -> None:
    shape = (2, 3, 5, 5)
    for other in (torch.zeros(shape), torch.full(shape, 1e4), random_pair(shape, (1,))[0]):
        student = torch.full(shape, value, dtype=dtype, requires_grad=True)
        teacher = other.to(dtype).requires_grad_()
        found = loss(student, teacher)
        assert found.dtype == torch.float32
        assert torch.isfinite(found).all()
        found.sum().backward()
        for side in (student, teacher):
            assert side.grad is not None
            assert side.grad.dtype == dtype
            assert torch.isfinite(side.grad).all()


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 4.0])
def test_attention_map_of_zeros_is_zero_without_a_gradient(power: float) -> None:
    features = torch.zeros(1, 2, 3, 3, requires_grad=True)
    found = attention_map(features, power=power)
    assert (found == 0).all()
    found.sum().backward()
    assert features.grad is not None
    assert (features.grad == 0).all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@given(pair=map_pairs())
def test_half_precision_is_that_of_its_inputs(loss: Loss, dtype: torch.dtype, pair: Pair) -> None:
    half = [side.to(dtype) for side in pair]
    wide = loss(*(side.double() for side in half))
    torch.testing.assert_close(loss(*half).double(), wide, rtol=1e-4, atol=1e-6)


@every_loss
def test_autocast_around_it_changes_nothing(loss: Loss) -> None:
    student, teacher = (side.float() for side in random_pair((3, 4, 5, 5), (3, 4, 5, 5)))
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(student, teacher)
    torch.testing.assert_close(found, loss(student, teacher), rtol=0, atol=0)
