"""Presets are short commented files that say what they are for."""

from __future__ import annotations

import pytest

from limbeck.errors import UserError
from limbeck.recipe.presets import PRESETS, preset, summary


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_begins_with_a_sentence_on_what_it_is_for(name: str) -> None:
    assert summary(name).endswith(".")
    assert len(preset(name).splitlines()) < 70


def test_an_unknown_preset_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean 'digits'"):
        preset("digit")
