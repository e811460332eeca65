"""The laws of distances between the channels of feature maps, against the definitions in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from scipy.stats import pearsonr
from torch import Tensor

from limbeck.losses.channels import channel_correlation_distance, channel_kl, selectivity_mmd

Loss = Callable[..., Tensor]
Pair = tuple[Tensor, Tensor]
LOSSES = [channel_kl, selectivity_mmd, channel_correlation_distance]
every_loss = pytest.mark.parametrize("loss", LOSSES)
temperatures = st.sampled_from([0.5, 1.0, 4.0])


@st.composite
def map_pairs(draw: st.DrawFn) -> Pair:
    """Feature maps of one shape on a coarse grid, so that constant channels and those of zeros are common."""
    shape = tuple(draw(st.integers(1, 3)) for _ in range(4))
    count = int(np.prod(shape))
    numbers = st.lists(st.integers(-8, 8).map(lambda quarters: quarters / 4), min_size=count, max_size=count)
    student, teacher = (torch.tensor(draw(numbers), dtype=torch.float64).reshape(shape) for _ in range(2))
    return student, teacher


def random_pair(student: tuple[int, ...] = (3, 4, 3, 5), teacher: tuple[int, ...] = (3, 4, 3, 5)) -> Pair:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(student, dtype=torch.float64, generator=generator),
        torch.randn(teacher, dtype=torch.float64, generator=generator),
    )


def per_channel(low: float, high: float, channels: int = 4) -> Tensor:
    return torch.linspace(low, high, channels, dtype=torch.float64).view(1, channels, 1, 1)


def kl_definition(student: np.ndarray, teacher: np.ndarray, temperature: float = 1.0) -> list[float]:
    return [
        float(
            np.mean(
                [
                    rel_entr(softmax(t.ravel() / temperature), softmax(s.ravel() / temperature)).sum()
                    for s, t in zip(ours, theirs, strict=True)
                ]
            )
        )
        for ours, theirs in zip(student, teacher, strict=True)
    ]


def mmd_definition(student: np.ndarray, teacher: np.ndarray) -> list[float]:
    def patterns(sample: np.ndarray) -> list[np.ndarray]:
        return [c.ravel() / np.linalg.norm(c) if c.any() else c.ravel() for c in sample]

    def kernel(left: list[np.ndarray], right: list[np.ndarray]) -> float:
        return float(np.mean([(one @ other) ** 2 for one in left for other in right]))

    found = []
    for ours, theirs in zip(map(patterns, student), map(patterns, teacher), strict=True):
        found.append(kernel(ours, ours) + kernel(theirs, theirs) - 2 * kernel(ours, theirs))
    return found


def correlation_definition(student: np.ndarray, teacher: np.ndarray) -> list[float]:
    found = []
    for channel in range(student.shape[1]):
        one, other = student[:, channel].ravel(), teacher[:, channel].ravel()
        constant = np.ptp(one) == 0, np.ptp(other) == 0
        if any(constant):
            found.append(0.0 if all(constant) else 0.5)
        else:
            found.append(1 - float(pearsonr(one, other).statistic))
    return found


DEFINITIONS = {
    channel_kl: kl_definition,
    selectivity_mmd: mmd_definition,
    channel_correlation_distance: correlation_definition,
}


@every_loss
@given(pair=map_pairs())
def test_equals_the_definition(loss: Loss, pair: Pair) -> None:
    expected = torch.tensor(DEFINITIONS[loss](*(side.numpy() for side in pair)), dtype=torch.float64)
    torch.testing.assert_close(loss(*pair), expected, rtol=1e-8, atol=1e-10)
    single = loss(pair[0].float(), pair[1].float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-5)


@given(pair=map_pairs(), temperature=temperatures)
def test_channel_kl_equals_the_definition_at_every_temperature(pair: Pair, temperature: float) -> None:
    expected = kl_definition(pair[0].numpy(), pair[1].numpy(), temperature)
    found = channel_kl(*pair, temperature=temperature)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12)


@every_loss
@given(pair=map_pairs())
def test_is_not_negative_and_zero_where_both_agree(loss: Loss, pair: Pair) -> None:
    assert (loss(*pair) >= -1e-12).all()
    assert (loss(pair[0], pair[0].clone()).abs() < 1e-15).all()


@every_loss
def test_is_not_zero_between_random_maps(loss: Loss) -> None:
    assert (loss(*random_pair()) > 0.01).all()


@given(shift=st.floats(-50, 50))
def test_channel_kl_ignores_a_constant_added_to_each_channel(shift: float) -> None:
    student, teacher = random_pair()
    expected = channel_kl(student, teacher)
    shifts = per_channel(-shift, 3 * shift)
    torch.testing.assert_close(channel_kl(student + shifts, teacher), expected, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(channel_kl(student, teacher + shifts), expected, rtol=1e-8, atol=1e-10)


@given(scale=st.floats(0.001, 1000))
def test_selectivity_ignores_order_scale_and_sign_of_the_channels(scale: float) -> None:
    student, teacher = random_pair((3, 4, 3, 5), (3, 6, 3, 5))
    expected = selectivity_mmd(student, teacher)
    order = torch.tensor([2, 0, 3, 1])
    found = selectivity_mmd((per_channel(-scale, 2.3 * scale) * student)[:, order], teacher)
    torch.testing.assert_close(found, expected)
    found = selectivity_mmd(student, (per_channel(-scale, 2.3 * scale, 6) * teacher).flip(1))
    torch.testing.assert_close(found, expected)


def test_selectivity_counts_how_often_a_pattern_occurs_and_not_how_many_channels_there_are() -> None:
    student = random_pair()[0]
    assert (selectivity_mmd(student.repeat(1, 3, 1, 1), student).abs() < 1e-12).all()
    assert (selectivity_mmd(torch.cat([student, student[:, :1]], 1), student) > 1e-4).all()


def test_selectivity_sees_a_translation_of_the_channels() -> None:
    student, teacher = random_pair()
    assert not torch.isclose(selectivity_mmd(student + 1, teacher), selectivity_mmd(student, teacher)).any()


def test_selectivity_pools_the_larger_to_the_smaller() -> None:
    student, teacher = random_pair((2, 3, 4, 6), (2, 5, 2, 3))
    small = student.unflatten(2, (2, 2)).unflatten(4, (3, 2)).mean((3, 5))
    expected = torch.tensor(mmd_definition(small.numpy(), teacher.numpy()), dtype=torch.float64)
    torch.testing.assert_close(selectivity_mmd(student, teacher), expected)
    torch.testing.assert_close(selectivity_mmd(teacher, student), expected)


@given(scale=st.floats(0.001, 1000), shift=st.floats(-100, 100))
def test_correlation_ignores_scale_and_offset_of_each_channel(scale: float, shift: float) -> None:
    student, teacher = random_pair()
    expected = channel_correlation_distance(student, teacher)
    scales, shifts = per_channel(scale, 3 * scale), per_channel(-shift, shift)
    found = channel_correlation_distance(scales * student + shifts, teacher)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)
    found = channel_correlation_distance(student, scales * teacher + shifts)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


def test_correlation_is_two_between_opposites() -> None:
    student = random_pair()[0]
    found = channel_correlation_distance(student, 3 - 2 * student)
    torch.testing.assert_close(found, torch.full((4,), 2.0, dtype=torch.float64))


def test_correlation_is_that_of_the_whole_batch_and_not_of_each_example() -> None:
    student, teacher = random_pair()
    apart = torch.stack(
        [channel_correlation_distance(student[row : row + 1], teacher[row : row + 1]) for row in range(3)]
    )
    assert not torch.isclose(channel_correlation_distance(student, teacher), apart.mean(0)).any()


@pytest.mark.parametrize("constant", [0.0, 0.1, 12345.678])
def test_a_constant_channel_correlates_with_nothing_and_gets_no_gradient(constant: float) -> None:
    student = random_pair((3, 1, 7, 7))[0].float()
    flat = torch.full((3, 1, 7, 7), constant, requires_grad=True)  # no multiple of its mean's rounding
    found = channel_correlation_distance(flat, student)
    torch.testing.assert_close(found.detach(), torch.tensor([0.5]))
    found.sum().backward()
    assert flat.grad is not None
    assert (flat.grad == 0).all()
    assert (channel_correlation_distance(flat, 2 * flat + 1) == 0).all()


def test_correlation_survives_a_large_offset_in_single_precision() -> None:
    student, teacher = random_pair()
    far = (student * 8).round() / 8 + 4096  # exact in single precision
    expected = channel_correlation_distance(far, teacher)
    torch.testing.assert_close(
        channel_correlation_distance(far.float(), teacher.float()).double(), expected, rtol=1e-5, atol=0
    )


@every_loss
def test_has_the_gradient_of_its_value(loss: Loss) -> None:
    shape = (2, 3, 2, 3)
    sides = [side.requires_grad_() for side in random_pair(shape, shape)]
    assert torch.autograd.gradcheck(loss, sides)


@pytest.mark.parametrize("loss", [channel_kl, selectivity_mmd])
def test_rows_are_alone(loss: Loss) -> None:
    student, teacher = random_pair()
    apart = [loss(student[row : row + 1], teacher[row : row + 1]) for row in range(3)]
    torch.testing.assert_close(loss(student, teacher), torch.cat(apart))


@every_loss
@pytest.mark.parametrize("shape", [(1, 3, 2, 2), (1, 3, 1, 1), (3, 2, 5, 5)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("value", [0.0, 1.0, 1e4, -1e4])
def test_zeros_constants_and_extremes_stay_finite(
    loss: Loss, shape: tuple[int, ...], dtype: torch.dtype, value: float
) -> None:
    for other in (torch.zeros(shape), torch.full(shape, 1e4), 1e4 * random_pair(shape)[0].clamp(-1, 1)):
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


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@given(pair=map_pairs())
def test_half_precision_is_that_of_its_inputs(loss: Loss, dtype: torch.dtype, pair: Pair) -> None:
    half = [(side * 1.01).to(dtype) for side in pair]
    wide = loss(*(side.double() for side in half))
    torch.testing.assert_close(loss(*half).double(), wide, rtol=1e-4, atol=1e-5)


@every_loss
def test_autocast_around_it_changes_nothing(loss: Loss) -> None:
    student, teacher = (side.float() for side in random_pair())
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(student, teacher)
    torch.testing.assert_close(found, loss(student, teacher), rtol=0, atol=0)
