"""Laws that every family of models keeps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from limbeck.errors import ModelError
from limbeck.models import (
    MLP,
    AnyModel,
    Architecture,
    Linear,
    PythonModel,
    Residual,
    Separable,
    count_parameters,
    kinds,
)
from limbeck.types import digest

IMAGE = (1, 8, 8)
SMALL = [
    Linear(),
    MLP(width=16, depth=2),
    Residual(width=4, depth=2, stages=2),
    Residual(width=4, depth=1, stages=3, stem_stride=2),
    Separable(width=4, depth=2, stages=2, stem_stride=1),
    Separable(width=4, depth=1, stages=3),
]
CONVOLUTIONAL = [config for config in SMALL if config.kind in {"residual", "separable"}]
every_family = pytest.mark.parametrize(
    "config", SMALL, ids=lambda config: f"{config.kind}-{digest(config)[:4]}"
)
every_convolution = pytest.mark.parametrize(
    "config", CONVOLUTIONAL, ids=lambda config: f"{config.kind}-{digest(config)[:4]}"
)


@every_family
def test_answers_one_logit_per_class(config: Architecture) -> None:
    assert config.build(IMAGE, 7)(torch.randn(3, *IMAGE)).shape == (3, 7)


@every_family
def test_each_build_is_new_and_the_seed_decides_it(config: Architecture) -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(config.build(IMAGE, 3).state_dict()["head.weight"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@every_family
def test_every_parameter_gets_a_gradient(config: Architecture) -> None:
    torch.manual_seed(0)
    module = config.build(IMAGE, 3)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("second.1.weight"):  # starts at zero, which hides what lies before it
                parameter.fill_(1.0)
    module(torch.randn(16, *IMAGE)).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@every_family
def test_an_answer_does_not_depend_on_the_rest_of_the_batch_in_eval_mode(config: Architecture) -> None:
    module = config.build(IMAGE, 3).eval()
    inputs = torch.randn(5, *IMAGE)
    torch.testing.assert_close(module(inputs)[:2], module(inputs[:2]))


@every_convolution
def test_layout_changes_no_answer(config: Architecture) -> None:
    module = config.build(IMAGE, 3).eval()
    inputs = torch.randn(4, *IMAGE)
    before = module(inputs)
    module.to(memory_format=torch.channels_last)
    torch.testing.assert_close(module(inputs.to(memory_format=torch.channels_last)), before)


@every_convolution
@pytest.mark.parametrize("shape", [(3, 5, 9), (1, 1, 1)])
def test_takes_images_of_any_size(config: Architecture, shape: tuple[int, int, int]) -> None:
    assert config.build(shape, 3).eval()(torch.randn(2, *shape)).shape == (2, 3)


@every_convolution
def test_plain_features_are_refused_with_the_cure(config: Architecture) -> None:
    with pytest.raises(ModelError, match=r"\[64\].*kind: mlp"):
        config.build((64,), 3)


@given(width=st.integers(1, 6), depth=st.integers(1, 2), stages=st.integers(1, 3), stride=st.integers(1, 2))
def test_sizes_change_cost_and_never_the_kind_of_answer(
    width: int, depth: int, stages: int, stride: int
) -> None:
    for family in (Residual, Separable):
        small = family(width=width, depth=depth, stages=stages, stem_stride=stride)
        large = family(width=width + 1, depth=depth, stages=stages, stem_stride=stride)
        module = small.build(IMAGE, 3).eval()
        assert module(torch.zeros(1, *IMAGE)).shape == (1, 3)
        assert count_parameters(module) < count_parameters(large.build(IMAGE, 3))


def test_stem_stride_costs_no_parameters() -> None:
    first, second = (Residual(width=4, stem_stride=stride).build(IMAGE, 3) for stride in (1, 2))
    assert count_parameters(first) == count_parameters(second)


@every_family
def test_a_dump_loads_as_the_same_model(config: Architecture) -> None:
    loaded: Architecture = TypeAdapter(AnyModel).validate_python(config.model_dump(mode="json"))
    assert loaded == config
    assert type(loaded) is type(config)
    assert digest(loaded) == digest(config)


def test_python_alone_names_a_function_of_the_users() -> None:
    loaded = TypeAdapter(AnyModel).validate_python(
        {"python": "package.module:function", "arguments": {"a": 1}}
    )
    assert loaded == PythonModel(python="package.module:function", arguments={"a": 1})
    assert TypeAdapter(AnyModel).validate_python(loaded.model_dump(mode="json")) == loaded


def test_every_kind_is_in_the_schema_and_in_the_list() -> None:
    schema = TypeAdapter(AnyModel).json_schema()
    consts = {part["properties"]["kind"]["const"] for part in schema["$defs"].values()}
    assert consts - {"object"} == set(kinds())


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"kind": "resnet"}, "union_tag_invalid"),
        ({"width": 3}, "union_tag_not_found"),
        ({"kind": 3}, "union_tag_not_found"),
        ("residual", "union_tag_not_found"),
        ({"kind": "residual", "width": 0}, "greater_than"),
        ({"kind": "residual", "widht": 3}, "extra_forbidden"),
        ({"python": "no colon"}, "string_pattern_mismatch"),
    ],
)
def test_a_wrong_model_in_a_recipe_is_refused(value: object, kind: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(AnyModel).validate_python(value)
    assert [error["type"] for error in caught.value.errors()] == [kind]
