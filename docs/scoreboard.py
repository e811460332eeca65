"""The scoreboard's tables, and what may be read from them: rendered from the result file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from blocks import table
from figures import figure_table, origin

Row = Mapping[str, Any]

_NONE = (
    "No scoreboard is committed yet. `make scoreboard` writes it, in hours, and goes on where it was stopped."
)
_COLUMNS = (
    "method", "accuracy", "95 % interval", "over no teacher", "over tuned KD", "over random teacher", "seeds",
    "s per epoch", "MB",
)  # fmt: skip
_PAIRS = {
    "cnn-cnn": "CNN to CNN",
    "cnn-vit": "CNN to transformer",
    "vit-cnn": "transformer to CNN",
}


def page(results: Path) -> str:
    """The whole board; a line that says how to make it where there is none."""
    board = _read(results)
    return "\n\n".join(_parts(board)) if board else _NONE


def of_method(name: str, results: Path) -> str:
    """The rows of one method, for its page; nothing where the board has none."""
    board = _read(results)
    rows = [row for row in board["rows"] if _is_of(row, name)] if board else []
    if not rows:
        return ""
    columns = ("row", "pair", "weights", "accuracy", "over no teacher", "over tuned KD", "seeds")
    lines = [
        (
            f"`{row['method']}`", row["pair"], row["column"], _accuracy(row),
            _against(row["against_no_teacher"]), _against(row["against_tuned_kd"]), str(row["seeds"]),
        )
        for row in rows
    ]  # fmt: skip
    return f"## On the scoreboard\n\n{table(columns, lines)}\n\n[What the columns mean](../scoreboard.md)."


def reading(board: Mapping[str, Any]) -> Iterator[str]:
    """What the numbers say, a sentence each."""
    done, planned = board["trainings"]["done"], board["trainings"]["planned"]
    if done < planned:
        yield f"{done} of {planned} trainings are done, so this board is not finished."
    for pair in dict.fromkeys(row["pair"] for row in board["rows"]):
        yield from _reading(_PAIRS.get(pair, pair), _of(board, pair, "published"))
    yield from _random(board["rows"])
    if board["failed"]:
        yield f"{len(board['failed'])} trainings failed; they are named below."


def _budget(setting: Mapping[str, Any]) -> str:
    """What every training was given."""
    pair = next(iter(setting["pairs"].values()))
    left_out = "".join(
        f" `{row}` does not apply to {_PAIRS.get(name, name)}: {why}."
        for row, name, why in setting["does_not_apply"]
    )
    steps, batch, labels = (pair[name] for name in ("steps", "batch_examples", "labels"))
    return (
        f"Each student is trained for {steps} steps of {batch} on {labels:,} labelled images, with "
        f"{len(setting['seeds'])} seeds.{left_out}"
    )


def _reading(title: str, rows: Sequence[Row]) -> Iterator[str]:
    methods = [row for row in rows if not row["control"]]
    if not methods:
        return
    single = sum(row["seeds"] == 1 for row in methods)
    if single:
        yield f"{title}: {single} methods have one seed so far, so their verdicts do not cover other seeds."
    above = _names(row for row in methods if row["verdict"] == "beats")
    yield (
        f"{title}: {len(above)} of {len(methods)} methods are above the student without a teacher, and "
        f"{sum(row['verdict'] == 'hurts' for row in methods)} are below it."
    )
    compared = [row for row in methods if row["against_tuned_kd"]]
    if compared:
        words = [row["against_tuned_kd"]["verdict"] for row in compared]
        best = _names(row for row in compared if row["against_tuned_kd"]["verdict"] == "beats")
        yield (
            f"{title}, against tuned KD: {_listed(best)} above it, {words.count('hurts')} below it, and "
            f"{len(words) - words.count('beats') - words.count('hurts')} of {len(words)} cannot be told from it."
        )
    rivals = [row for row in methods if row["against_best"] and row["against_best"]["verdict"] != "hurts"]
    top = next((row for row in methods if row["against_best"] is None), None)
    if top:
        others = (
            f"{len(rivals)} further methods cannot be told from it, so their order means nothing"
            if rivals
            else "all others are below it"
        )
        yield f"{title}: the highest mean is that of {top['method']}; {others}."


def _random(rows: Sequence[Row]) -> Iterator[str]:
    asked = [row for row in rows if row.get("against_random_teacher")]
    failed = _names(row for row in asked if row["against_random_teacher"]["verdict"] != "beats")
    if asked:
        yield (
            f"{len(asked) - len(failed)} of {len(asked)} methods beat themselves with a random teacher. "
            + (f"Not shown to: {', '.join(failed)}." if failed else "None fails to.")
        )


def _parts(board: Mapping[str, Any]) -> Iterator[str]:
    yield _budget(board["setting"])
    yield "## In short\n\n" + "\n".join(f"- {line}" for line in reading(board))
    yield figure_table(board["figures"])
    for pair, accuracy in board["teachers"].items():
        rows = _of(board, pair, "published")
        if rows:
            yield f"## {_PAIRS.get(pair, pair)}\n\nThe teacher's accuracy is {accuracy:.4f}."
            yield table(_COLUMNS, _sorted(rows))
    tuned = [row for row in board["rows"] if row["column"] == "tuned"]
    if tuned:
        yield (
            f"## {_PAIRS.get(tuned[0]['pair'])}, weights tuned\n\nEach method's distillation terms times one of "
            f"{', '.join(f'{trial:g}' for trial in board['setting']['trials'])}, chosen on validation data."
        )
        yield table(_COLUMNS, _sorted(tuned))
    free = [row for row in board["rows"] if row["column"] == "data-free"]
    if free:
        yield "## Without data\n\nThe student sees only images that were made from the teacher."
        columns = (
            "made by",
            "student's steps",
            "accuracy",
            "share of the teacher's",
            "seeds",
            "s to make them",
        )
        pools = board["setting"]["data_free"]
        yield table(columns, [_free(row, pools[row["method"]]) for row in free])
    if board["failed"]:
        yield "## Failed\n\n" + table(("training", "error"), [tuple(one.values()) for one in board["failed"]])
    yield origin(board)


def _sorted(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    controls = [row for row in rows if row["control"]]
    methods = [row for row in rows if not row["control"]]
    return [_line(row) for part in (controls, methods) for row in sorted(part, key=_metric, reverse=True)]


def _line(row: Row) -> tuple[str, ...]:
    name = f"**{row['method']}**" if row["control"] else row["method"]
    return (
        name, f"{row['metric']:.4f}", f"{row['low']:.4f} to {row['high']:.4f}",
        _against(row["against_no_teacher"]), _against(row["against_tuned_kd"]),
        _against(row["against_random_teacher"]), str(row["seeds"]),
        f"{row['seconds_per_epoch']:.1f}", f"{row['peak_mb']:.0f}",
    )  # fmt: skip


def _free(row: Row, pool: Row) -> tuple[str, ...]:
    share = row["share_of_teacher"]
    kept = f"{share['value']:.3f} ({share['low']:.3f} to {share['high']:.3f})"
    steps = f"{pool['training']['steps']:,}"
    return row["method"], steps, _accuracy(row), kept, str(row["seeds"]), f"{row['making_seconds']:.0f}"


def _against(found: Row | None) -> str:
    return f"{found['difference']:+.4f} {found['verdict']}" if found else ""


def _accuracy(row: Row) -> str:
    return f"{row['metric']:.4f} ({row['low']:.4f} to {row['high']:.4f})"


def _is_of(row: Row, name: str) -> bool:
    return not row["control"] and name == (row["method"] if row["method"] in row["uses"] else row["uses"][0])


def _of(board: Mapping[str, Any], pair: str, column: str) -> list[Row]:
    return [row for row in board["rows"] if row["pair"] == pair and row["column"] == column]


def _names(rows: Iterator[Row]) -> list[str]:
    return [row["method"] for row in rows]


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)} ({', '.join(names)})" if names else "none is"


def _metric(row: Row) -> float:
    return float(row["metric"])


def _read(results: Path) -> Mapping[str, Any] | None:
    file = results / "scoreboard.json"
    found: Mapping[str, Any] | None = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    return found
