"""Connectors: any layer of the student to any layer of the teacher."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from limbeck.errors import MethodError
from limbeck.methods.connectors import Resize, as_map, as_tokens, connector

SHAPES = [(2, 8), (2, 16, 8), (2, 17, 12), (2, 8, 4, 4), (2, 6, 7, 7), (2, 12, 2, 2)]


@pytest.mark.parametrize(("student", "teacher"), list(itertools.product(SHAPES, SHAPES)), ids=str)
@pytest.mark.parametrize("kind", ["linear", "orthogonal", "convolution"])
def test_connects_any_two_shapes_and_every_part_trains(student, teacher, kind) -> None:
    ours, theirs = (shape[1] if len(shape) == 4 else shape[-1] for shape in (student, teacher))
    if (kind == "convolution" and len(teacher) != 4) or (kind == "orthogonal" and ours > theirs):
        with pytest.raises(MethodError, match="connector: linear"):
            connector(student, teacher, kind=kind)
        return
    made = connector(student, teacher, kind=kind)
    features = torch.randn(student, requires_grad=True)
    answer = made(features)
    assert answer.shape == teacher
    (answer * torch.randn(teacher)).sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
    assert all(parameter.grad is not None for parameter in made.parameters())


def test_tokens_are_read_row_by_row_and_back() -> None:
    maps = torch.randn(2, 3, 4, 4)
    tokens = as_tokens(maps, 16)
    assert torch.equal(tokens[:, 5], maps[:, :, 1, 1])
    assert torch.equal(as_map(tokens, (4, 4)), maps)


def test_a_token_in_front_is_left_out_of_the_map() -> None:
    tokens = torch.randn(2, 17, 3)
    assert torch.equal(as_map(tokens, (4, 4)), as_map(tokens[:, 1:], (4, 4)))


def test_a_smaller_map_is_the_mean_of_what_it_covers() -> None:
    maps = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(as_map(maps, (2, 2)), nn.functional.avg_pool2d(maps, 2))


def test_equal_shapes_are_left_as_they_are() -> None:
    for shape in SHAPES:
        features = torch.randn(shape)
        assert torch.equal(Resize(shape, shape)(features), features)


def test_an_orthogonal_connector_keeps_lengths_and_angles() -> None:
    made = connector((2, 5), (2, 9), kind="orthogonal")
    rows = torch.randn(6, 5)
    torch.testing.assert_close(made(rows) @ made(rows).T, rows @ rows.T, rtol=1e-4, atol=1e-5)


def test_what_is_no_features_is_refused() -> None:
    with pytest.raises(MethodError, match=r"student's features have the shape \[2\]"):
        connector((2,), (2, 3))
