"""The laws of the losses over pairwise distances and angles, against the definitions in float64."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from limbeck.losses.relation import angle_relation, distance_relation

Relation = Callable[[Tensor, Tensor], Tensor]
every_relation = pytest.mark.parametrize("relation", [distance_relation, angle_relation])


@st.composite
def cloud_pairs(draw: st.DrawFn, least: int = 1) -> tuple[Tensor, Tensor]:
    """Two clouds of as many rows, on a coarse grid, so that equal rows and rows of zeros are common."""
    rows = draw(st.integers(least, 5))
    numbers = st.integers(-16, 16).map(lambda quarters: quarters / 4)
    widths = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    sides = (draw(st.lists(numbers, min_size=rows * width, max_size=rows * width)) for width in widths)
    student, teacher = (torch.tensor(side, dtype=torch.float64).reshape(rows, -1) for side in sides)
    return student, teacher


def random_pair(rows: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(rows, 3, dtype=torch.float64, generator=generator),
        torch.randn(rows, 5, dtype=torch.float64, generator=generator),
    )


def rotation(width: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.linalg.qr(torch.randn(width, width, dtype=torch.float64, generator=generator))[0]


def smooth(gap: float) -> float:
    return 0.5 * gap * gap if abs(gap) < 1 else abs(gap) - 0.5


def distance_definition(student: Tensor, teacher: Tensor) -> float:
    def relative(rows: np.ndarray) -> dict[tuple[int, int], float]:
        pairs = list(permutations(range(len(rows)), 2))
        apart = {(i, j): float(np.linalg.norm(rows[i] - rows[j])) for i, j in pairs}
        mean = sum(apart.values()) / len(apart) if apart else 0.0
        return {pair: distance / mean if mean > 0 else 0.0 for pair, distance in apart.items()}

    ours, theirs = relative(student.double().numpy()), relative(teacher.double().numpy())
    return sum(smooth(ours[pair] - theirs[pair]) for pair in ours) / max(len(ours), 1)


def angle_definition(student: Tensor, teacher: Tensor) -> float:
    def cosine(rows: np.ndarray, i: int, j: int, k: int) -> float:
        one, other = rows[i] - rows[j], rows[k] - rows[j]
        lengths = np.linalg.norm(one) * np.linalg.norm(other)
        return float(one @ other / lengths) if lengths > 0 else 0.0

    ours, theirs = student.double().numpy(), teacher.double().numpy()
    triples = list(permutations(range(len(ours)), 3))
    gaps = (smooth(cosine(ours, *triple) - cosine(theirs, *triple)) for triple in triples)
    return sum(gaps) / max(len(triples), 1)


DEFINITIONS = {distance_relation: distance_definition, angle_relation: angle_definition}


@every_relation
@given(pair=cloud_pairs())
def test_equals_the_definition(relation: Relation, pair: tuple[Tensor, Tensor]) -> None:
    expected = torch.tensor(DEFINITIONS[relation](*pair), dtype=torch.float64)
    torch.testing.assert_close(relation(*pair), expected, rtol=1e-9, atol=1e-9)
    single = relation(pair[0].float(), pair[1].float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-5)


@every_relation
@given(pair=cloud_pairs())
def test_is_zero_where_both_agree(relation: Relation, pair: tuple[Tensor, Tensor]) -> None:
    assert relation(pair[0], pair[0].clone()).abs() < 1e-15


@every_relation
def test_is_not_zero_between_clouds_of_other_shapes(relation: Relation) -> None:
    assert relation(*random_pair()) > 0.01


@every_relation
@given(scale=st.floats(0.001, 1000), shift=st.floats(-100, 100))
def test_ignores_scale_rotation_and_translation_of_either_side(
    relation: Relation, scale: float, shift: float
) -> None:
    student, teacher = random_pair()
    expected = relation(student, teacher)
    moved = scale * student @ rotation(3) + shift
    torch.testing.assert_close(relation(moved, teacher), expected, rtol=1e-7, atol=1e-9)
    moved = scale * teacher @ rotation(5) + shift
    torch.testing.assert_close(relation(student, moved), expected, rtol=1e-7, atol=1e-9)


@every_relation
def test_ignores_the_order_of_the_samples(relation: Relation) -> None:
    student, teacher = random_pair()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(relation(student[order], teacher[order]), relation(student, teacher))
    assert not torch.isclose(relation(student[order], teacher), relation(student, teacher))


@every_relation
def test_has_the_gradient_of_its_value(relation: Relation) -> None:
    sides = [side.requires_grad_() for side in random_pair(4)]
    assert torch.autograd.gradcheck(relation, sides)


@every_relation
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_batch_without_relations_teaches_nothing(relation: Relation, rows: int, value: float) -> None:
    student = torch.full((rows, 3), value, requires_grad=True)
    found = relation(student, torch.ones(rows, 2))
    assert found == 0
    found.backward()
    assert student.grad is not None
    assert (student.grad == 0).all()


def test_two_rows_have_no_angle() -> None:
    student = torch.tensor([[1.0, 2.0], [3.0, -1.0]], requires_grad=True)
    found = angle_relation(student, torch.tensor([[0.0], [5.0]]))
    assert found == 0
    found.backward()
    assert student.grad is not None
    assert (student.grad == 0).all()


@every_relation
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extremes_stay_finite(relation: Relation, dtype: torch.dtype) -> None:
    rows = [[1e4, -1e4, 0.0], [1e4, -1e4, 0.0], [0.0, 0.0, 0.0], [-1e4, 1e4, 1e4], [1e-4, 0.0, 0.0]]
    student = torch.tensor(rows, dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[0.0, 0.0], [1e4, 0.0], [0.0, 1e4], [0.0, 0.0], [1.0, 1.0]], dtype=dtype)
    for other in (teacher, torch.zeros_like(teacher)):
        student.grad = None
        found = relation(student, other)
        assert found.dtype == torch.float32
        assert torch.isfinite(found)
        found.backward()
        assert student.grad is not None
        assert torch.isfinite(student.grad).all()
        assert student.grad.dtype == dtype


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9, 1e-20])
def test_almost_equal_rows_do_not_blow_up_the_angles(gap: float) -> None:
    student = torch.tensor([[0.0, 0.0], [gap, 0.0], [1.0, 0.3], [-0.4, 1.0]], requires_grad=True)
    found = angle_relation(student, torch.tensor([[0.0], [1.0], [2.0], [5.0]]))
    assert found <= smooth(2.0)
    found.backward()
    assert student.grad is not None
    assert (student.grad.abs() < 10 / max(gap, 1e-7)).all()


@every_relation
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@given(pair=cloud_pairs())
def test_half_precision_is_that_of_its_inputs(
    relation: Relation, dtype: torch.dtype, pair: tuple[Tensor, Tensor]
) -> None:
    half = [side.to(dtype) for side in pair]
    wide = relation(*(side.double() for side in half))
    torch.testing.assert_close(relation(*half).double(), wide, rtol=1e-4, atol=1e-5)


@every_relation
def test_the_gradient_in_single_precision_is_right_far_from_the_origin(relation: Relation) -> None:
    student, teacher = ((100 + side).float() for side in random_pair(12))
    single, double = student.clone().requires_grad_(), student.double().requires_grad_()
    relation(single, teacher).backward()
    relation(double, teacher.double()).backward()
    assert single.grad is not None
    assert double.grad is not None
    scale = double.grad.abs().max().item()
    torch.testing.assert_close(single.grad.double(), double.grad, rtol=0, atol=1e-3 * scale)


@every_relation
def test_autocast_around_it_changes_nothing(relation: Relation) -> None:
    student, teacher = (side.float() for side in random_pair())
    with torch.autocast("cpu", torch.bfloat16):
        found = relation(student, teacher)
    torch.testing.assert_close(found, relation(student, teacher), rtol=0, atol=0)


@pytest.mark.parametrize("chunk", [1, 2, 4, 5, 100])
def test_chunks_of_vertices_equal_the_whole(chunk: int) -> None:
    student, teacher = (side.requires_grad_() for side in random_pair())
    whole = angle_relation(student, teacher, chunk=6)
    expected = torch.autograd.grad(whole, (student, teacher))
    found = angle_relation(student, teacher, chunk=chunk)
    torch.testing.assert_close(found, whole)
    torch.testing.assert_close(torch.autograd.grad(found, (student, teacher)), expected)


class Largest(TorchDispatchMode):
    """Remembers how many numbers the largest tensor has that was made in its block."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        sizes = (leaf.numel() for leaf in tree_leaves(made) if isinstance(leaf, Tensor))
        self.numbers = max(self.numbers, *sizes, 0)
        return made


def test_angles_never_fill_memory_with_all_triples() -> None:
    rows, chunk = 40, 2
    student = torch.randn(rows, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    kept: list[Tensor] = []
    with Largest() as largest:
        with torch.autograd.graph.saved_tensors_hooks(
            lambda saved: kept.append(saved) or saved, lambda kept: kept
        ):
            found = angle_relation(student, student.detach().flip(0), chunk=chunk)
        found.backward()
    assert largest.numbers <= chunk * rows * rows
    assert sum({saved.data_ptr(): saved.numel() for saved in kept}.values()) <= 4 * rows * rows
