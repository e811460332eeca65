"""Cross-entropy against the definition in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import log_softmax
from torch import Tensor

from limbeck.losses import cross_entropy
from limbeck.types import ABSENT

smoothings = st.sampled_from([0.0, 0.1, 0.5])


@st.composite
def labelled_logits(draw: st.DrawFn, bound: float = 30.0) -> tuple[Tensor, Tensor]:
    rows, classes = draw(st.integers(1, 4)), draw(st.integers(2, 6))
    logits = draw(arrays.arrays(np.float64, (rows, classes), elements=st.floats(-bound, bound)))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows))
    return torch.from_numpy(logits), torch.tensor(labels)


def soft(labels: Tensor, classes: int) -> Tensor:
    return torch.nn.functional.one_hot(labels, classes).double()


def definition(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    mixed = (1 - smoothing) * targets.numpy() + smoothing / logits.shape[1]
    return torch.from_numpy(-(mixed * log_softmax(logits.numpy(), axis=-1)).sum(-1))


@given(pair=labelled_logits(), smoothing=smoothings)
def test_equals_the_definition_for_hard_and_soft_labels(
    pair: tuple[Tensor, Tensor], smoothing: float
) -> None:
    logits, labels = pair
    targets = soft(labels, logits.shape[1])
    expected = definition(logits, targets, smoothing)
    for given_labels in (labels, targets):
        found = cross_entropy(logits, given_labels, label_smoothing=smoothing)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    single = cross_entropy(logits.float(), labels, label_smoothing=smoothing)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-4)


@given(pair=labelled_logits(), weights=st.lists(st.floats(0.1, 1), min_size=6, max_size=6))
def test_is_linear_in_soft_labels(pair: tuple[Tensor, Tensor], weights: list[float]) -> None:
    logits = pair[0]
    targets = torch.tensor(weights[: logits.shape[1]], dtype=torch.float64).expand_as(logits)
    targets = targets / targets.sum(-1, keepdim=True)
    expected = definition(logits, targets, 0.0)
    torch.testing.assert_close(cross_entropy(logits, targets), expected, rtol=1e-9, atol=1e-9)


@given(pair=labelled_logits(), smoothing=smoothings)
def test_is_not_negative(pair: tuple[Tensor, Tensor], smoothing: float) -> None:
    assert (cross_entropy(*pair, label_smoothing=smoothing) >= 0).all()


@given(pair=labelled_logits(), smoothing=smoothings, shift=st.floats(-50, 50))
def test_ignores_a_constant_added_to_the_logits(
    pair: tuple[Tensor, Tensor], smoothing: float, shift: float
) -> None:
    logits, labels = pair
    expected = cross_entropy(logits, labels, label_smoothing=smoothing)
    found = cross_entropy(logits + shift, labels, label_smoothing=smoothing)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


@given(pair=labelled_logits(bound=3.0), smoothing=smoothings)
def test_has_the_gradient_of_its_value(pair: tuple[Tensor, Tensor], smoothing: float) -> None:
    logits, labels = pair
    for targets in (labels, soft(labels, logits.shape[1])):
        assert torch.autograd.gradcheck(
            lambda z, y=targets: cross_entropy(z, y, label_smoothing=smoothing),
            [logits.clone().requires_grad_()],
        )


@given(pair=labelled_logits(), smoothing=smoothings)
def test_an_absent_class_changes_nothing(pair: tuple[Tensor, Tensor], smoothing: float) -> None:
    logits, labels = pair
    absent = torch.full((len(logits), 1), -torch.inf, dtype=torch.float64)
    wider = torch.cat([logits, absent], -1).requires_grad_()
    expected = cross_entropy(logits, labels, label_smoothing=smoothing)
    for targets in (labels, soft(labels, wider.shape[1])):
        wider.grad = None
        found = cross_entropy(wider, targets, label_smoothing=smoothing)
        torch.testing.assert_close(found.detach(), expected)
        found.sum().backward()
        assert wider.grad is not None
        assert torch.isfinite(wider.grad).all()
        assert (wider.grad[:, -1] == 0).all()


@given(pair=labelled_logits(), smoothing=smoothings)
def test_a_row_without_a_label_costs_nothing_and_learns_nothing(
    pair: tuple[Tensor, Tensor], smoothing: float
) -> None:
    logits, labels = pair[0].requires_grad_(), pair[1].clone()
    labels[0] = ABSENT
    found = cross_entropy(logits, labels, label_smoothing=smoothing)
    assert found[0] == 0
    found.sum().backward()
    assert logits.grad is not None
    assert (logits.grad[0] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_extreme_logits_stay_finite(dtype: torch.dtype, smoothing: float) -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], dtype=dtype, requires_grad=True)
    found = cross_entropy(logits, torch.tensor([1, 0]), label_smoothing=smoothing)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    found.sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
