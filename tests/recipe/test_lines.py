"""YAML becomes plain values with their lines, by the rules of YAML 1.2."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from limbeck.errors import RecipeError
from limbeck.recipe.lines import Dumper, read, value_of

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc-1e", min_size=1), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1.5E+2", 150.0), (".5", 0.5), ("-3", -3), ("007", 7), ("true", True), ("~", None),
        ("no", "no"), ("on", "on"), ("1:30", "1:30"), ("2024-01-01", "2024-01-01"), ("0x10", "0x10"),
        (".inf", math.inf), ("", None), ("[1, 2e0]", [1, 2.0]), ("{a: 1}", {"a": 1}), ("'1'", "1"),
    ],
)  # fmt: skip
def test_a_plain_scalar_is_what_yaml_1_2_says(text: str, value: object) -> None:
    found = value_of(text)
    assert found == value
    assert type(found) is type(value)


@given(value=PLAIN)
def test_what_is_dumped_is_read_back_the_same(value: object) -> None:
    text = yaml.dump(value, Dumper=Dumper, allow_unicode=True, sort_keys=False)
    assert repr(read(text).value) == repr(value)


def test_every_key_and_item_has_its_line() -> None:
    document = read("a: 1\nb:\n  - x\n  - c: 2\n    d: 3\n")
    assert document.line(("a",)) == 1
    assert document.line(("b", 1, "d")) == 5
    assert document.line(("b", 1, "missing", "deeper")) == 4


def test_every_key_that_stands_twice_is_reported_with_both_lines() -> None:
    with pytest.raises(RecipeError) as caught:
        read("a: 1\nb: {c: 1, c: 2}\na: 2\n")
    assert {(problem.path, problem.line) for problem in caught.value.problems} == {("a", 3), ("b.c", 2)}
    assert "first in line 1" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1,\nb", 2), ("a: 1\n\tb: 2", 2), ("!!python/object/apply:os.getcwd []", 1), ("a: *b", 1),
        ("x: &x\n  - *x\n", 1), ("? [a]\n: 1", 1), ("a: 1\n---\nb: 2", 2),
    ],
)  # fmt: skip
def test_what_is_not_one_plain_document_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(RecipeError) as caught:
        read(text)
    assert caught.value.problems[0].line == line
