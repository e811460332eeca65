"""The laws of distances between features of one shape, against the definitions in float64."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from limbeck.losses.hint import cosine_hint, normalised_hidden_error, smooth_hint, squared_hint, width_last

Hint = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
HINTS = [squared_hint, smooth_hint, cosine_hint]
every_hint = pytest.mark.parametrize("hint", HINTS)
every_loss = pytest.mark.parametrize("loss", [*HINTS, normalised_hidden_error])
every_shape = pytest.mark.parametrize(
    "shape", [(3, 5), (3, 4, 5), (3, 5, 2, 3)], ids=["vectors", "tokens", "maps"]
)


@st.composite
def feature_pairs(draw: st.DrawFn) -> Pair:
    """Vectors, tokens or maps on a coarse grid, so that zeros and equal features are common."""
    sizes = st.integers(1, 3)
    shape = draw(st.one_of(*(st.tuples(*[sizes] * axes) for axes in (2, 3, 4))))
    count = int(np.prod(shape))
    numbers = st.lists(
        st.integers(-12, 12).map(lambda quarters: quarters / 4), min_size=count, max_size=count
    )
    student, teacher = (torch.tensor(draw(numbers), dtype=torch.float64).reshape(shape) for _ in range(2))
    return student, teacher


def random_pair(*shape: int) -> Pair:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, *shape, dtype=torch.float64, generator=generator).unbind()
    return student, teacher


def element_mean(error: Callable[[float], float]) -> Callable[[np.ndarray, np.ndarray], list[float]]:
    def definition(student: np.ndarray, teacher: np.ndarray) -> list[float]:
        return [
            float(np.mean([error(s - t) for s, t in zip(ours.flat, theirs.flat, strict=True)]))
            for ours, theirs in zip(student, teacher, strict=True)
        ]

    return definition


def cosine_definition(student: np.ndarray, teacher: np.ndarray) -> list[float]:
    def apart(one: np.ndarray, other: np.ndarray) -> float:
        lengths = np.linalg.norm(one), np.linalg.norm(other)
        if min(lengths) == 0:
            return 0.0 if max(lengths) == 0 else 0.5
        return 1 - float(one @ other) / (lengths[0] * lengths[1])

    found = []
    for ours, theirs in zip(student, teacher, strict=True):
        if ours.ndim == 3:  # [channels, height, width]
            rows, columns = range(ours.shape[1]), range(ours.shape[2])
            vectors = [(ours[:, i, j], theirs[:, i, j]) for i, j in product(rows, columns)]
        else:
            width = ours.shape[-1]
            vectors = list(zip(ours.reshape(-1, width), theirs.reshape(-1, width), strict=True))
        found.append(float(np.mean([apart(*pair) for pair in vectors])))
    return found


DEFINITIONS = {
    squared_hint: element_mean(lambda error: error * error),
    smooth_hint: element_mean(lambda error: error * error / 2 if abs(error) < 1 else abs(error) - 0.5),
    cosine_hint: cosine_definition,
}


@every_hint
@given(pair=feature_pairs())
def test_equals_the_definition(hint: Hint, pair: Pair) -> None:
    expected = torch.tensor(DEFINITIONS[hint](*(side.numpy() for side in pair)), dtype=torch.float64)
    torch.testing.assert_close(hint(*pair), expected, rtol=1e-9, atol=1e-12)
    single = hint(pair[0].float(), pair[1].float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-5, atol=1e-6)


@given(pair=feature_pairs())
def test_hidden_error_is_the_squared_distance_on_the_unit_sphere(pair: Pair) -> None:
    found = normalised_hidden_error(*pair)
    assert found.shape == pair[0].shape[:-1]
    sides = (side.numpy() for side in pair)
    lengthened = [side / np.maximum(np.linalg.norm(side, axis=-1, keepdims=True), 1e-300) for side in sides]
    expected = ((lengthened[0] - lengthened[1]) ** 2).sum(-1)
    torch.testing.assert_close(found, torch.from_numpy(np.asarray(expected)), rtol=1e-9, atol=1e-12)


@every_loss
@given(pair=feature_pairs())
def test_is_not_negative_and_zero_where_both_agree(loss: Hint, pair: Pair) -> None:
    assert (loss(*pair) >= 0).all()
    assert (loss(pair[0], pair[0].clone()) == 0).all()


@every_shape
@given(scale=st.floats(0.001, 1000))
def test_cosine_ignores_the_length_of_each_vector(shape: tuple[int, ...], scale: float) -> None:
    student, teacher = random_pair(*shape)
    lengths = scale * (1 + torch.arange(width_last(student)[..., 0].numel(), dtype=torch.float64))
    lengths = lengths.reshape(width_last(student).shape[:-1]).unsqueeze(1 if len(shape) == 4 else -1)
    expected = cosine_hint(student, teacher)
    torch.testing.assert_close(cosine_hint(lengths * student, teacher), expected)
    torch.testing.assert_close(cosine_hint(student, lengths * teacher), expected)


def test_cosine_keeps_small_angles_in_single_precision() -> None:
    angle = 1e-4
    student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, angle]])
    expected = torch.tensor([angle**2 / 2])  # one minus the cosine rounds to 0 or to 6e-8
    torch.testing.assert_close(cosine_hint(student, teacher), expected, rtol=1e-4, atol=0)


def test_opposite_vectors_are_as_far_apart_as_can_be() -> None:
    student = random_pair(4, 3)[0]
    torch.testing.assert_close(cosine_hint(student, -3 * student), torch.full((4,), 2.0, dtype=torch.float64))
    expected = torch.full((4,), 4.0, dtype=torch.float64)
    torch.testing.assert_close(normalised_hidden_error(student, -3 * student), expected)


@given(scale=st.floats(0.01, 100))
def test_smooth_hint_is_half_the_square_near_and_never_pulls_harder_than_one(scale: float) -> None:
    student, teacher = (scale * side for side in random_pair(3, 4))
    student.requires_grad_()
    (pull,) = torch.autograd.grad(smooth_hint(student, teacher).sum(), student)
    torch.testing.assert_close(pull, (student - teacher).detach().clamp(-1, 1) / 4)


@every_loss
@every_shape
def test_has_the_gradient_of_its_value(loss: Hint, shape: tuple[int, ...]) -> None:
    sides = [side.requires_grad_() for side in random_pair(*shape)]
    assert torch.autograd.gradcheck(loss, sides)


@every_hint
@every_shape
def test_rows_are_alone(hint: Hint, shape: tuple[int, ...]) -> None:
    student, teacher = random_pair(*shape)
    apart = [hint(student[row : row + 1], teacher[row : row + 1]) for row in range(len(student))]
    torch.testing.assert_close(hint(student, teacher), torch.cat(apart))


@every_loss
@every_shape
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("value", [0.0, 1.0, 1e4, -1e4])
def test_zeros_constants_and_extremes_stay_finite(
    loss: Hint, shape: tuple[int, ...], dtype: torch.dtype, value: float
) -> None:
    for other in (torch.zeros(shape), torch.full(shape, 1e4), random_pair(*shape)[0]):
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
@given(pair=feature_pairs())
def test_half_precision_is_that_of_its_inputs(loss: Hint, dtype: torch.dtype, pair: Pair) -> None:
    half = [(side * 1.01).to(dtype) for side in pair]
    wide = loss(*(side.double() for side in half))
    torch.testing.assert_close(loss(*half).double(), wide, rtol=1e-5, atol=1e-6)


@every_loss
def test_autocast_around_it_changes_nothing(loss: Hint) -> None:
    student, teacher = (side.float() for side in random_pair(3, 4, 5))
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(student, teacher)
    torch.testing.assert_close(found, loss(student, teacher), rtol=0, atol=0)
