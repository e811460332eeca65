"""How a recipe writes a method."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from limbeck.methods import CE, KD, METHODS, AnyMethod, Method, PseudoLabel, parse
from limbeck.types import Frozen, digest


class Recipe(Frozen):
    """A recipe with nothing else in it."""

    method: AnyMethod


FORMS: list[tuple[Any, Method]] = [
    ("kd", KD()),
    ({"kd": None}, KD()),
    ({"kd": {"temperature": 4}, "ce": {"weight": 0.1}}, KD(temperature=4) + 0.1 * CE()),
    ({"ce": {}, "kd": {}}, CE() + KD()),
    ([{"kd": {"temperature": 1}}, {"kd": {"temperature": 4}}], KD(temperature=1) + KD(temperature=4)),
    (["ce", {"pseudo-label": {"weight": 2}}], CE() + PseudoLabel(weight=2)),
]


@pytest.mark.parametrize(("written", "expected"), FORMS)
def test_every_form_is_read(written: Any, expected: Method) -> None:
    assert parse(written) == expected
    assert Recipe(method=written).method == expected


@pytest.mark.parametrize(("written", "expected"), FORMS)
def test_every_form_fits_the_schema(written: Any, expected: Method) -> None:
    schema = Recipe.model_json_schema()
    jsonschema.validate({"method": written}, schema)


@pytest.mark.parametrize(
    "written", [{"kdd": {}}, {"kd": {"temprature": 1}}, {"kd": {"temperature": 0}}, {}, []]
)
def test_the_schema_refuses_what_is_refused(written: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"method": written}, Recipe.model_json_schema())
    with pytest.raises(ValidationError):
        parse(written)


@pytest.mark.parametrize("expected", [method for _, method in FORMS], ids=repr)
def test_a_recipe_comes_back_equal(expected: Method) -> None:
    recipe = Recipe(method=expected)
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert digest(recipe) != digest(Recipe(method=PseudoLabel(weight=9)))


@pytest.mark.parametrize(
    ("written", "places"),
    [
        ({"kd": {"temperature": 0}}, {("method", "kd", "temperature")}),
        (
            {"kd": {"temprature": 1}, "ce": {"weight": -1}},
            {("method", "kd", "temprature"), ("method", "ce", "weight")},
        ),
        ([{"ce": {}}, {"kd": {"weight": "much"}}], {("method", 1, "kd", "weight")}),
        ({"kdd": {}, "ce": {"label_smoothing": 1}}, {("method", "kdd"), ("method", "ce", "label_smoothing")}),
        ({"kd": 3}, {("method", "kd")}),
        ({}, {("method",)}),
        (3, {("method",)}),
    ],
)
def test_every_mistake_has_its_place(written: Any, places: set[tuple[Any, ...]]) -> None:
    with pytest.raises(ValidationError) as caught:
        Recipe(method=written)
    assert {error["loc"] for error in caught.value.errors()} == places


def test_an_unknown_method_is_named_with_its_neighbours() -> None:
    with pytest.raises(ValidationError, match=r"no method 'kdd'.*Did you mean 'kd'"):
        parse({"kdd": {}})


@pytest.mark.parametrize("name", METHODS)
def test_every_name_alone_is_a_method(name: str) -> None:
    assert parse(name) == METHODS[name]()
