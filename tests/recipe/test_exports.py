"""Formats are named once and stand in the order in which they are written."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from limbeck.recipe.exports import FORMATS, Exports


def test_formats_stand_in_the_order_in_which_they_are_written() -> None:
    assert Exports(formats=("pt2", "onnx")).formats == ("onnx", "pt2")
    assert Exports().formats == FORMATS


def test_a_format_named_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="named twice"):
        Exports(formats=("onnx", "onnx"))
