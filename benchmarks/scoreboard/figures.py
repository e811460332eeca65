"""The board's figures: how many methods do what, each with its goal where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def figures(rows: Sequence[Row], *, share_done: float) -> dict[str, dict[str, Any]]:
    """Figures in the form of every benchmark.

    Args:
        rows: Of the board.
        share_done: How much of what is planned is done.
    """
    methods = [row for row in rows if not row["control"] and row["column"] == "published"]
    found = {
        "methods_on_the_board": _count({row["method"] for row in methods}, goal=40),
        "share_of_planned_trainings": {
            "value": round(share_done, 3), "unit": "share", "better": "higher", "goal": 1,
        },
        "methods_above_tuned_kd": _count(
            {row["method"] for row in methods if _word(row, "tuned_kd") == "beats"}
        ),
        "methods_not_above_their_random_teacher": _count(
            {row["method"] for row in methods if _word(row, "random_teacher") not in (None, "beats")},
            better="lower",
        ),
    }  # fmt: skip
    for pair in dict.fromkeys(row["pair"] for row in rows):
        above = {row["method"] for row in methods if row["pair"] == pair and _above(row)}
        found[f"{pair.replace('-', '_')}_methods_above_control"] = _count(above, goal=1)
    shares = [row["share_of_teacher"] for row in rows if row["column"] == "data-free"]
    if shares:
        found["data_free_share_of_teacher"] = {
            **max(shares, key=lambda share: share["value"]),
            "unit": "share", "better": "higher", "goal": 0.9,
        }  # fmt: skip
    return {name: _rounded(figure) for name, figure in found.items()}


def _above(row: Row) -> bool:
    return bool(row["reads_teacher"]) and row["verdict"] == "beats"


def _word(row: Row, other: str) -> str | None:
    against = row[f"against_{other}"]
    return against["verdict"] if against else None


def _count(names: set[str], *, goal: int | None = None, better: str = "higher") -> dict[str, Any]:
    found: dict[str, Any] = {"value": len(names), "unit": "methods", "better": better}
    return found if goal is None else {**found, "goal": goal}


def _rounded(figure: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in figure.items()}
