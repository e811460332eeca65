"""No loss leaves its mean to torch, whose ``reduction="mean"`` divides by another number than the unit's."""

from __future__ import annotations

import ast
from pathlib import Path

import limbeck

SOURCE = Path(limbeck.__file__).parent
OURS = ("none", "sum")


def test_every_loss_of_torch_is_asked_for_values_or_their_sum() -> None:
    """``kl_div`` divides by the number of classes too under "mean", and torch says that this will change."""
    found = []
    files = [file for name in ("losses", "methods") for file in (SOURCE / name).glob("*.py")]
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _of_torch(node.func):
                kept = [word.value.value for word in node.keywords
                        if word.arg == "reduction" and isinstance(word.value, ast.Constant)]  # fmt: skip
                if not set(kept) & set(OURS):
                    found.append(f"{file.relative_to(SOURCE)}:{node.lineno}")
    assert not found


def _of_torch(called: ast.expr) -> bool:
    return (
        isinstance(called, ast.Attribute)
        and isinstance(called.value, ast.Name)
        and called.value.id in {"functional", "F"}
        and (
            called.attr.endswith("_loss")
            or called.attr in {"kl_div", "cross_entropy", "binary_cross_entropy"}
        )
    )
