"""Methods that hold a method: how they are written, read, looked into, bound and shipped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import jsonschema
import pytest
import torch
from pydantic import ValidationError
from tests.methods.modified import loss, started, ticked
from torch import nn

from limbeck.errors import RecipeError
from limbeck.methods import (
    CE,
    KD,
    AnyMethod,
    Balance,
    LearnedTemperature,
    Method,
    PseudoLabel,
    Schedule,
    Standardise,
    Sum,
    Traced,
    WarmUp,
    dump,
    parse,
)
from limbeck.methods.wrapping import leaves, mapped
from limbeck.pipeline.arms import student_arms
from limbeck.recipe import Choice, load
from limbeck.recipe import dump as written
from limbeck.taps import Layer
from limbeck.types import Frozen, digest


class Recipe(Frozen):
    """A recipe with nothing else in it."""

    method: AnyMethod


class Recorded(KD):
    """Says what it was called with, and keeps a part of its own."""

    kind: Literal["kd"] = "kd"
    bound: bool = False

    @property
    def grows(self) -> bool:
        return True

    def bind(self, student: Sequence[Layer], teacher: Sequence[Layer] | None) -> Method:
        return self.model_copy(update={"bound": True})

    def init(self, traced: Traced) -> nn.Module:
        return nn.Linear(1, 1)

    def advance(self, student: nn.Module, state: nn.Module | None) -> None:
        assert isinstance(state, nn.Linear)
        state.bias.add_(1)

    def deploy(self, student: nn.Module, state: nn.Module | None) -> nn.Module:
        assert isinstance(state, nn.Linear)
        return nn.Sequential(student, state)


WRITTEN: list[tuple[Any, Method]] = [
    ({"standardise": {"of": {"kd": {"temperature": 2, "weight": 9}}}, "ce": {"weight": 0.1}},
     Standardise(of=KD(temperature=2, weight=9)) + 0.1 * CE()),
    ({"standardise": {"of": "kd", "weight": 2}}, 2 * Standardise(of=KD())),
    ({"warm-up": {"of": {"kd": {}, "pseudo-label": None}, "steps": 5}},
     WarmUp(of=KD() + PseudoLabel(), steps=5)),
    ({"warm-up": {"of": [{"kd": {"temperature": 1}}, {"kd": {"temperature": 4}}]}},
     WarmUp(of=KD(temperature=1) + KD(temperature=4))),
    ({"schedule": {"of": {"standardise": {"of": {"learned-temperature": {"highest": 9}}}}, "shape": "cosine"}},
     Schedule(of=Standardise(of=LearnedTemperature(highest=9)), shape="cosine")),
    ({"balance": {"shares": {"kd": 3, "ce": 1}}}, Balance(shares={"kd": 3, "ce": 1})),
]  # fmt: skip
SCHEMA = Recipe.model_json_schema()
every_form = pytest.mark.parametrize(("written", "expected"), WRITTEN, ids=[repr(one) for one, _ in WRITTEN])


@every_form
def test_is_read_as_it_is_written(written: Any, expected: Method) -> None:
    assert parse(written) == expected
    jsonschema.validate({"method": written}, SCHEMA)


@every_form
def test_comes_back_equal_from_plain_data(written: Any, expected: Method) -> None:
    plain = json.loads(json.dumps(dump(expected)))
    jsonschema.validate({"method": plain}, SCHEMA)
    assert parse(plain) == expected
    assert digest(parse(plain)) == digest(expected)
    recipe = Recipe(method=expected)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_anything_inside_changes_the_digest() -> None:
    inside = [KD(), KD(temperature=3), KD() + CE(), CE() + KD(), 2 * KD(), WarmUp(of=KD())]
    assert len({digest(WarmUp(of=method)) for method in inside}) == len(inside)


@pytest.mark.parametrize(
    ("written", "places"),
    [
        ({"standardise": {"of": {"kd": {"temperature": 0}}}}, {("standardise", "of", "kd", "temperature")}),
        ({"warm-up": {"of": {"kdd": {}}, "steps": 0}}, {("warm-up", "of", "kdd"), ("warm-up", "steps")}),
        (
            {"warm-up": {"of": {"schedule": {"of": [{"kd": {"temprature": 1}}]}}}},
            {("warm-up", "of", "schedule", "of", 0, "kd", "temprature")},
        ),
        ({"standardise": {"of": {"ce": {}}}}, {("standardise", "of")}),
        ({"warm-up": {"of": {"standardise": {"of": "ce"}}}}, {("warm-up", "of", "standardise", "of")}),
        ({"balance": {"shares": {"kd": 0}}}, {("balance", "shares", "kd")}),
    ],
)
def test_a_mistake_inside_has_its_place(written: Any, places: set[tuple[Any, ...]]) -> None:
    with pytest.raises(ValidationError) as caught:
        Recipe(method=written)
    assert {error["loc"] for error in caught.value.errors()} == {("method", *place) for place in places}


def test_a_recipe_names_the_line_and_the_nearest_name_inside() -> None:
    text = """
data: {kind: digits}
teacher: {model: {kind: linear}}
student: {model: {kind: linear}}
method:
  standardise:
    of:
      kd:
        temprature: 2
"""
    with pytest.raises(RecipeError, match=r"method\.standardise\.of\.kd.*line 9.*'temperature'"):
        load(text)


def test_the_schema_refuses_a_mistake_inside() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"method": {"warm-up": {"of": {"kd": {"temperature": 0}}}}}, SCHEMA)


def test_a_factor_scales_the_modifier_and_so_all_inside() -> None:
    method = WarmUp(of=KD() + CE(weight=0.5), steps=4)
    assert 2 * method == WarmUp(of=KD() + CE(weight=0.5), steps=4, weight=2)
    assert method + CE() == Sum(methods=(method, CE()))
    state = started(method)
    torch.testing.assert_close(loss(2 * method, state), 2 * loss(method, state))
    torch.testing.assert_close(loss(0.5 * Standardise(of=2 * KD())), loss(Standardise(of=KD())))


def test_leaves_carry_all_their_weights_and_can_be_replaced() -> None:
    method = 2 * WarmUp(of=3 * KD() + 0.5 * Standardise(of=KD(temperature=1))) + CE()
    assert list(leaves(method)) == [6 * KD(), KD(temperature=1), CE()]
    sharp = mapped(method, lambda leaf: leaf.model_copy(update={"weight": 0.0}))
    assert sharp == 2 * WarmUp(of=0 * KD() + 0.5 * Standardise(of=0 * KD(temperature=1))) + 0 * CE()


def test_the_inner_method_is_bound_advanced_and_shipped() -> None:
    method = WarmUp(of=Recorded() + CE())
    assert method.grows
    bound = method.bind([], None)
    assert [getattr(part, "bound", None) for part in leaves(bound)] == [True, None]
    state = started(bound)
    shipped = bound.deploy(nn.Linear(1, 1), state)
    before = shipped[1].bias.detach().clone()
    ticked(bound, state, 3)
    torch.testing.assert_close(shipped[1].bias.detach(), before + 3)


RECIPE: dict[str, Any] = {
    "data": {"kind": "digits", "labelled": 100},
    "teacher": {"model": {"kind": "linear"}},
    "student": {"model": {"kind": "linear"}},
}


def test_the_rest_of_the_library_looks_inside() -> None:
    recipe = load({**RECIPE, "method": {"balance": {"of": {"kd": {}, "ce": {"weight": 0.5}}, "weight": 2}}})
    assert student_arms(recipe)["pseudo-labels"].method == PseudoLabel() + CE()
    _, smoothed = Choice(label_smoothing=0.2).apply(recipe.training, recipe.method)
    assert smoothed == 2 * Balance(of=KD() + CE(weight=0.5, label_smoothing=0.2))
    again = load(written(recipe), overrides=["method.balance.of.kd.temperature=3"])
    assert again.method == 2 * Balance(of=KD(temperature=3) + CE(weight=0.5))
    with pytest.raises(RecipeError, match="only fits labels"):
        load({**RECIPE, "method": {"warm-up": {"of": "ce"}}})
