"""Recipes to start from: short commented files that a user copies and edits."""

from __future__ import annotations

from importlib.resources import files

from limbeck.errors import UserError, nearest

PRESETS = ("image-classification", "arrays", "custom-teacher", "fashion-mnist", "digits")
"""Their names, the ones for a user's own data first."""


def preset(name: str) -> str:
    """The text of a preset.

    Raises:
        UserError: If there is none of that name.
    """
    if name not in PRESETS:
        listed = ", ".join(PRESETS)
        raise UserError(f"There is no preset {name!r}.{nearest(name, PRESETS)} There are: {listed}.")
    return (files("limbeck.recipe") / "templates" / f"{name}.yaml").read_text(encoding="utf-8")


def summary(name: str) -> str:
    """What a preset is for: the first line of its file."""
    return preset(name).partition("\n")[0].removeprefix("#").strip()
