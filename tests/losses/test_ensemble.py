"""Several teachers in one: means of distributions, of logits, and shares by confidence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import log_softmax, softmax
from torch import Tensor

from limbeck.losses import cross_entropy, forward_kl, log_probs
from limbeck.losses.ensemble import confidence_weights, mean_logit, mean_probability, weighted_probability
from limbeck.types import ABSENT

temperatures = st.sampled_from([0.5, 1.0, 4.0])


def evenly(logits: Tensor, temperature: float = 1.0) -> Tensor:
    weights = torch.full(logits.shape[:-1], 1 / len(logits), dtype=torch.float64)
    return weighted_probability(logits, weights, temperature=temperature)


Mean = Callable[[Tensor], Tensor]
every_mean = pytest.mark.parametrize("mean", [mean_probability, mean_logit, evenly])


@st.composite
def ensembles(draw: st.DrawFn, bound: float = 30.0, least: int = 1) -> Tensor:
    shape = (draw(st.integers(least, 4)), draw(st.integers(1, 3)), draw(st.integers(2, 5)))
    return torch.from_numpy(draw(arrays.arrays(np.float64, shape, elements=st.floats(-bound, bound))))


def random_ensemble() -> Tensor:
    return 2 * torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def random_shares() -> Tensor:
    return torch.rand(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).softmax(0)


@given(logits=ensembles(), temperature=temperatures)
def test_mean_probability_is_the_arithmetic_mean(logits: Tensor, temperature: float) -> None:
    expected = torch.from_numpy(softmax(logits.numpy() / temperature, axis=-1).mean(0))
    found = mean_probability(logits, temperature=temperature)
    torch.testing.assert_close((found / temperature).exp(), expected)
    torch.testing.assert_close((found / temperature).softmax(-1), expected)
    torch.testing.assert_close(evenly(logits, temperature), found)


@given(logits=ensembles(), temperature=temperatures)
def test_mean_logit_is_the_geometric_mean(logits: Tensor, temperature: float) -> None:
    product = np.exp(log_softmax(logits.numpy() / temperature, axis=-1).mean(0))
    expected = torch.from_numpy(product / product.sum(-1, keepdims=True))
    torch.testing.assert_close((mean_logit(logits) / temperature).softmax(-1), expected)


def test_the_two_means_differ_where_the_teachers_do() -> None:
    logits = torch.tensor([[[4.0, 0.0, 0.0]], [[0.0, 0.0, 4.0]]])
    arithmetic, geometric = mean_probability(logits).softmax(-1), mean_logit(logits).softmax(-1)
    assert arithmetic[0, 1] < 0.03  # no teacher believes in it
    assert geometric[0, 1] > 0.05


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_mean_probability_teaches_as_the_mean_of_the_divergences(temperature: float) -> None:
    logits = random_ensemble()
    generator = torch.Generator().manual_seed(2)
    students = [
        torch.randn(4, 5, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(2)
    ]
    constants = []
    for student in students:
        blended = mean_probability(logits, temperature=temperature)
        together = forward_kl(student, blended, temperature=temperature)
        apart = torch.stack(
            [forward_kl(student, teacher, temperature=temperature) for teacher in logits]
        ).mean(0)
        gradients = [torch.autograd.grad(loss.sum(), student)[0] for loss in (together, apart)]
        torch.testing.assert_close(*gradients)
        constants.append((apart - together).detach())
    torch.testing.assert_close(*constants)
    assert (constants[0] > 0.01).all()


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_weighted_probability_is_the_weighted_mean(temperature: float) -> None:
    logits, weights = random_ensemble(), random_shares()
    shares = softmax(logits.numpy() / temperature, axis=-1)
    expected = torch.from_numpy((weights.numpy()[..., None] * shares).sum(0))
    found = weighted_probability(logits, weights, temperature=temperature)
    torch.testing.assert_close((found / temperature).exp(), expected)


def test_a_teacher_without_a_share_changes_nothing() -> None:
    logits = random_ensemble().requires_grad_()
    weights = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).unsqueeze(1).expand(3, 4)
    found = weighted_probability(logits, weights)
    torch.testing.assert_close(found, log_probs(logits[1]))
    found[:, 0].sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[[0, 2]] == 0).all()


@every_mean
@given(logits=ensembles())
def test_one_teacher_is_itself(mean: Mean, logits: Tensor) -> None:
    torch.testing.assert_close(log_probs(mean(logits[:1])), log_probs(logits[0]))


@every_mean
@given(logits=ensembles())
def test_the_order_of_the_teachers_does_not_matter(mean: Mean, logits: Tensor) -> None:
    torch.testing.assert_close(mean(logits.flip(0)), mean(logits))


@every_mean
def test_a_class_no_teacher_has_changes_nothing(mean: Mean) -> None:
    logits = random_ensemble()
    wider = torch.cat([logits, torch.full((3, 4, 1), -torch.inf, dtype=torch.float64)], -1).requires_grad_()
    found = mean(wider)
    torch.testing.assert_close(found[..., :-1], mean(logits))
    assert found[..., -1].isneginf().all()
    forward_kl(torch.zeros(4, 6, dtype=torch.float64), found).sum().backward()
    assert wider.grad is not None
    assert torch.isfinite(wider.grad).all()


def test_a_class_one_teacher_has_counts_in_the_arithmetic_mean_alone() -> None:
    logits = torch.tensor([[[0.0, 0.0, -torch.inf]], [[0.0, 0.0, 0.0]]])
    torch.testing.assert_close(mean_probability(logits).exp(), torch.tensor([[5 / 12, 5 / 12, 1 / 6]]))
    torch.testing.assert_close(mean_logit(logits).softmax(-1), torch.tensor([[0.5, 0.5, 0.0]]))


@every_mean
def test_has_the_gradient_of_its_value(mean: Mean) -> None:
    assert torch.autograd.gradcheck(mean, [random_ensemble().requires_grad_()])


@every_mean
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extremes_and_halves_are_those_of_their_inputs(mean: Mean, dtype: torch.dtype) -> None:
    logits = torch.tensor([[[1e4, -1e4, 0.0]], [[-1e4, 1e4, 1e4]]], dtype=dtype, requires_grad=True)
    found = mean(logits)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), mean(logits.double()), rtol=1e-6, atol=1e-6)
    found.softmax(-1)[0, 0].backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.dtype == dtype


@every_mean
def test_takes_any_batch_shape(mean: Mean) -> None:
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mean(logits).flatten(0, 1), mean(logits.flatten(1, 2)))
    torch.testing.assert_close(mean(logits[:, 0, 0]), mean(logits)[0, 0])


@st.composite
def labelled_ensembles(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    logits = draw(ensembles(least=2))
    rows, classes = logits.shape[1:]
    return logits, torch.tensor(draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)))


@given(drawn=labelled_ensembles())
def test_confidence_equals_the_definition(drawn: tuple[Tensor, Tensor]) -> None:
    logits, labels = drawn
    log_p = log_softmax(logits.numpy(), axis=-1)
    errors = -np.stack([teacher[np.arange(len(labels)), labels.numpy()] for teacher in log_p])
    expected = torch.from_numpy((1 - softmax(errors, axis=0)) / (len(logits) - 1))
    found = confidence_weights(logits, labels)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.sum(0), torch.ones(len(labels), dtype=torch.float64))
    single = confidence_weights(logits.float(), labels)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-4)


@given(drawn=labelled_ensembles())
def test_the_smallest_error_gets_the_largest_share(drawn: tuple[Tensor, Tensor]) -> None:
    logits, labels = drawn
    errors = torch.stack([cross_entropy(teacher, labels) for teacher in logits])
    weights = confidence_weights(logits, labels)
    best = weights.gather(0, errors.argmin(0, keepdim=True))
    assert (best >= weights - 1e-12).all()
    assert (weights >= 0).all()


def test_a_row_without_a_label_has_equal_shares() -> None:
    weights = confidence_weights(random_ensemble(), torch.tensor([0, ABSENT, 2, ABSENT]))
    torch.testing.assert_close(weights[:, [1, 3]], torch.full((3, 2), 1 / 3, dtype=torch.float64))
    assert weights[:, 0].std() > 0.01


def test_a_single_teacher_has_the_whole() -> None:
    weights = confidence_weights(random_ensemble()[:1], torch.tensor([0, 1, 2, ABSENT]))
    torch.testing.assert_close(weights, torch.ones(1, 4, dtype=torch.float64))


def test_a_teacher_without_the_class_of_the_label_has_the_least_share() -> None:
    logits = torch.tensor([[[0.0, 0.0], [0.0, -torch.inf]], [[0.0, -torch.inf], [0.0, -torch.inf]]])
    weights = confidence_weights(logits, torch.tensor([1, 1]))
    torch.testing.assert_close(weights, torch.tensor([[1.0, 0.5], [0.0, 0.5]]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_confidence_stays_finite_for_extremes(dtype: torch.dtype) -> None:
    logits = torch.tensor([[[1e4, -1e4]], [[-1e4, 1e4]], [[0.0, 0.0]]], dtype=dtype)
    weights = confidence_weights(logits, torch.tensor([0]))
    torch.testing.assert_close(weights, torch.tensor([[0.5], [0.0], [0.5]]))
