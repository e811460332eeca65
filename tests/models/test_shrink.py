from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from limbeck.errors import ModelError
from limbeck.models import MLP, Linear, Residual, Separable, count_parameters, shrink

FACTORS = st.floats(0.05, 1.0)


@given(width=FACTORS, depth=FACTORS)
def test_a_shrunken_model_is_of_the_same_family_and_no_larger(width: float, depth: float) -> None:
    for teacher in (Residual(width=16), Separable(width=16, depth=2), MLP(width=64, depth=3)):
        student = shrink(teacher, width=width, depth=depth)
        assert type(student) is type(teacher)
        small, large = (count_parameters(model.build((1, 4, 4), 3)) for model in (student, teacher))
        assert small <= large


def test_factors_of_one_change_nothing() -> None:
    teacher = Residual(width=30, depth=3, stages=2, stem_stride=2)
    assert shrink(teacher) == teacher.model_copy(update={"width": 32})
    assert shrink(Residual(width=32)) == Residual(width=32)


def test_a_module_shrinks_as_its_configuration_does() -> None:
    teacher = Residual(width=16, depth=2)
    assert shrink(teacher.build((1, 8, 8), 3), width=0.25, depth=0.5) == Residual(width=4, depth=1)


def test_a_quarter_of_the_width_is_about_a_sixteenth_of_the_parameters() -> None:
    teacher = Residual(width=32, depth=2)
    student = shrink(teacher, width=0.25)
    sizes = [count_parameters(model.build((1, 8, 8), 10)) for model in (teacher, student)]
    assert sizes[0] / sizes[1] == pytest.approx(16, rel=0.05)


def test_a_module_of_another_family_is_refused_with_the_cure() -> None:
    with pytest.raises(ModelError, match=r"Sequential is none of them\. Pass a student of your own"):
        shrink(nn.Sequential(nn.Linear(2, 2)), width=0.5)


def test_what_has_no_width_is_refused() -> None:
    with pytest.raises(ModelError, match="'linear' has no width"):
        shrink(Linear(), width=0.5)


@pytest.mark.parametrize("factor", [0.0, -1.0, 1.5, math.nan, math.inf])
def test_a_factor_out_of_range_is_refused_by_name_and_value(factor: float) -> None:
    with pytest.raises(ModelError, match=r"depth must be greater than 0"):
        shrink(Residual(), depth=factor)


def test_a_configuration_is_a_factory() -> None:
    student = shrink(Residual(width=8), width=0.5)
    first, second = student.build((1, 8, 8), 3), student.build((1, 8, 8), 3)
    assert first is not second
    assert not torch.equal(first.state_dict()["head.weight"], second.state_dict()["head.weight"])
