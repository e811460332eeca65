"""One value of a recipe replaced: nothing else changes, and what does not fit is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from limbeck.errors import RecipeError
from limbeck.recipe.overriding import override

RECIPE = {"method": {"kd": {"temperature": 4}, "ce": None}, "seeds": [0, 1], "view": "clean"}


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("method.kd.temperature=1e-1", ("method", "kd", "temperature"), 0.1),
        ("method.ce.weight=2", ("method", "ce", "weight"), 2),
        ("a.b.c=text with = and .", ("a", "b", "c"), "text with = and ."),
        ("seeds.1=7", ("seeds", 1), 7),
        ("seeds.2=7", ("seeds", 2), 7),
        ("tuning.0.learning_rate=.5", ("tuning", 0, "learning_rate"), 0.5),
        ("seeds=[5, 6]", ("seeds",), [5, 6]),
        ("gate=", ("gate",), None),
    ],
)
def test_the_value_stands_at_the_path_and_the_rest_is_as_before(
    assignment: str, path: tuple[Any, ...], value: object
) -> None:
    before = copy.deepcopy(RECIPE)
    found, paths = override(RECIPE, [assignment])
    assert paths == [path]
    assert before == RECIPE
    for part in path:
        found = found[part]
    assert found == value


def test_the_last_of_two_assignments_wins() -> None:
    assert override({}, ["a.b=1", "a.c=2", "a.b=3"])[0] == {"a": {"b": 3, "c": 2}}


def test_every_assignment_that_does_not_fit_is_reported_at_once() -> None:
    wrong = ["nothing", "=1", "a..b=1", "view.views=2", "seeds.5=1", "seeds.first=1", "x=[1"]
    with pytest.raises(RecipeError) as caught:
        override(RECIPE, [*wrong, "seeds.0=1"])
    assert [problem.path for problem in caught.value.problems] == [f"--set {text}" for text in wrong]
    assert "from 0 to 2, got 5" in str(caught.value)
