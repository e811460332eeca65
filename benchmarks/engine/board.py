"""From the measured parts to ``results/engine.json``: figures, tables, and what is slower than a peer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from benchmarks.engine import accuracy, timing
from benchmarks.engine.task import (
    AUGMENTATION,
    BATCH_EXAMPLES,
    EPOCH_EXAMPLES,
    EPOCHS,
    FIXED_VIEWS,
    OPTIMIZER,
    TEACHER_SHARE,
    TEACHERS,
    TEMPERATURE,
)
from benchmarks.engine.timing import Row, best, epoch_seconds, first_seconds, total_seconds
from benchmarks.form import peers_versions, ratio, write
from limbeck.evaluation import verdict

MARGIN: Final = 0.005

Parts = Mapping[str, Any]

_NOTES: Final = (
    f"Times are those of {EPOCHS} epochs of {EPOCH_EXAMPLES:,} samples on one thread, with all that the teacher is "
    "asked: Limbeck's labelling and the check that decides its number format, torchdistill 1.1.4's first epoch. They "
    "are extrapolated from pieces of each that were measured in turn. Measuring the plan (once for a machine and a "
    "pair of models) is not in them.",
    "torchdistill runs as its image-classification example does: torchvision's data set and transforms on one Pillow "
    "image at a time, its DistillationBox, its loop. Its teacher is put in eval mode, which the example leaves out. "
    "Of 0 and 2 worker processes the faster is compared, by CPU and by wall time separately.",
    "`clean`: nothing is augmented. `same`: student and teacher see the same "
    f"{FIXED_VIEWS} fixed views of each sample in every arm (shift and mirror), which Limbeck asks about once.",
    "`plain` is a loop of forty lines on data in memory, with a live teacher.",
)


def write_board(parts: Parts) -> Path:
    """Write ``results/engine.json``."""
    rows = {row.name: row for row in timing.rows()}
    figures = {**_speeds(rows, parts), **_formats(rows, parts), **_loop(parts), **_qualities(parts)}
    return write(
        "engine", figures,
        versions=peers_versions("torchdistill", "torchvision") | {"torchdistill, cached": "1.1.4"},
        tables=[*(_timings(row, parts[name]) for name, row in rows.items()), _curves(parts)],
        notes=[*_NOTES, *_slower(rows, parts)],
        setting={
            "teachers": {f"{student} {ratio}": model.model_dump(mode="json")
                         for (student, ratio), model in TEACHERS.items()},
            "batch_examples": BATCH_EXAMPLES, "temperature": TEMPERATURE, "teacher_share": TEACHER_SHARE,
            "optimizer": OPTIMIZER.model_dump(mode="json"), "augmentation": AUGMENTATION.model_dump(mode="json"),
            "accuracy_examples": accuracy.EXAMPLES, "accuracy_epochs": EPOCHS, "seeds": list(accuracy.SEEDS),
        },
        teacher_accuracy=parts[accuracy.trainings_names("limbeck")[0]]["teacher"],
    )  # fmt: skip


def _over(rows: Mapping[str, Row], parts: Parts, row: str, over: list[str], under: str, clock: str) -> Any:
    """Total seconds of the best of some arms over those of another, in each repetition."""
    chosen = best(rows[row], parts[row], over, clock)
    return (total_seconds(rows[row], parts[row], name, clock) for name in (chosen, under))


def _speeds(rows: Mapping[str, Row], parts: Parts) -> dict[str, Any]:
    peer = ["torchdistill", "torchdistill-2-workers"]
    older = ["torchdistill-1.1.4", "torchdistill-1.1.4-2-workers"]
    wanted = [
        ("torchdistill_over_limbeck_ratio2", "clean-2", peer, "limbeck", 3),
        ("torchdistill_over_limbeck_ratio6", "clean-6", peer, "limbeck", 6),
        ("torchdistill_over_limbeck_ratio20", "clean-20", peer, "limbeck", 12),
        ("torchdistill_cached_over_limbeck_ratio6", "clean-6", older, "limbeck", None),
        ("torchdistill_over_limbeck_ratio6_same_view", "same-6", peer, "limbeck", None),
        ("torchdistill_over_limbeck_ratio6_same_view_live", "same-6", peer, "limbeck-live", None),
        ("torchdistill_over_limbeck_ratio6_separable", "separable-6", peer, "limbeck", None),
        *(
            (f"plain_over_limbeck_ratio{size}", f"clean-{size}", ["plain"], "limbeck", None)
            for size in (2, 6, 20)
        ),
    ]
    found = {}
    for name, row, over, under, goal in wanted:
        found[name] = ratio(*_over(rows, parts, row, over, under, "cpu"), better="higher", goal=goal)
        found[f"{name}_wall"] = ratio(*_over(rows, parts, row, over, under, "wall"), better="higher")
    return found


def _formats(rows: Mapping[str, Row], parts: Parts) -> dict[str, Any]:
    """Each gain apart: the store at equal number format and layout, then the format alone, then the data path."""
    pairs = {
        "torchdistill_over_limbeck_ratio6_both_fp32": ("torchdistill", "limbeck-fp32"),
        "torchdistill_over_limbeck_ratio6_both_bf16": ("torchdistill-bf16", "limbeck-bf16"),
        "fp32_over_bf16_torchdistill_ratio6": ("torchdistill", "torchdistill-bf16"),
        "fp32_over_bf16_limbeck_ratio6": ("limbeck-fp32", "limbeck-bf16"),
        "torchdistill_over_plain_ratio6_both_bf16": ("torchdistill-bf16", "plain-bf16"),
    }
    return {
        name: ratio(*_over(rows, parts, "clean-6", [over], under, "cpu"), better="higher")
        for name, (over, under) in pairs.items()
    }


def _loop(parts: Parts) -> dict[str, Any]:
    seconds = parts["overhead"]
    stored = ratio(seconds["limbeck"], seconds["no-teacher"], better="lower", goal=1.05)
    loop = ratio(seconds["limbeck"], seconds["plain"], better="lower", goal=1.02)
    loop |= {"reached": loop["high"] <= loop["goal"], "rule": "the whole interval"}
    return {"loop_over_plain": loop, "stored_epoch_over_plain_epoch": stored}


def _qualities(parts: Parts) -> dict[str, Any]:
    ours, theirs = (
        [parts[name] for name in accuracy.trainings_names(framework)]
        for framework in ("limbeck", "torchdistill")
    )
    judged = verdict(
        np.stack([accuracy.right(one) for one in ours]),
        np.stack([accuracy.right(one) for one in theirs]),
        margin=MARGIN,
    )
    gap = {
        "value": round(judged.difference, 4), "low": round(judged.low, 4), "high": round(judged.high, 4),
        "unit": "accuracy", "better": "higher", "repetitions": judged.seeds, "goal": 0,
        "reached": judged.high >= 0, "rule": "the interval reaches the goal: no lower within noise",
    }  # fmt: skip
    return {"accuracy_gap_ratio6": gap, **_time_to_accuracy(parts, ours, theirs)}


def _time_to_accuracy(parts: Parts, ours: list[Any], theirs: list[Any]) -> dict[str, Any]:
    """Seconds until both mean curves reach the same accuracy: the lower of their last ones."""
    curves = [np.mean([one["curve"] for one in each], axis=0).tolist() for each in (ours, theirs)]
    target = min(curve[-1] for curve in curves)
    epochs = [accuracy.epochs_to(curve, target) for curve in curves]
    arms, share = parts["clean-6"]["arms"], accuracy.EXAMPLES / EPOCH_EXAMPLES
    pairs = zip(arms["limbeck"]["deciding_cpu"], arms["limbeck"]["answer_cpu"], strict=True)
    asked = [once + each * accuracy.EXAMPLES for once, each in pairs]
    epoch = {
        name: [share * one for one in epoch_seconds(arms[name], "cpu")]
        for name in ("limbeck", "torchdistill")
    }
    if epochs[0] is None or epochs[1] is None:
        return {}
    under = [label + epochs[0] * one for label, one in zip(asked, epoch["limbeck"], strict=True)]
    over = [epochs[1] * one for one in epoch["torchdistill"]]
    found = ratio(over, under, better="higher")
    return {"torchdistill_over_limbeck_time_to_accuracy_ratio6": {**found, "accuracy": round(target, 4)}}


def _timings(row: Row, found: Mapping[str, Any]) -> dict[str, Any]:
    cost = median(
        b / a for a, b in zip(found["forward"]["student"], found["forward"]["teacher"], strict=True)
    )
    columns = ("arm", "computed in", "ms a step", "epoch CPU s", "labelling CPU s", f"{EPOCHS} epochs CPU s",
               f"{EPOCHS} epochs wall s", "peak MB", "above imports MB")  # fmt: skip
    return {
        "title": f"{row.name}: the teacher's forward pass costs {cost:.1f} times the student's",
        "columns": columns,
        "rows": [_line(row, dict(found), arm.name) for arm in row.arms],
    }


def _line(row: Row, found: dict[str, Any], name: str) -> list[str]:
    arm = found["arms"][name]
    chosen = next(one for one in row.arms if one.name == name)
    first = first_seconds(arm, "cpu", views=FIXED_VIEWS if chosen.view == "same" else 1)
    computed = arm["facts"]["execution"]
    return [
        name,
        f"{computed['precision']} {computed['layout']}",
        f"{1e3 * median(arm['step_cpu']):.1f}",
        f"{median(epoch_seconds(arm, 'cpu')):.1f}",
        "" if first is None else f"{median(first):.1f}",
        f"{median(total_seconds(row, found, name, 'cpu')):.0f}",
        f"{median(total_seconds(row, found, name, 'wall')):.0f}",
        f"{arm['peak_mb']:.0f}",
        f"{arm['peak_above_imports_mb']:.0f}",
    ]


def _curves(parts: Parts) -> dict[str, Any]:
    rows = [
        [name, *(f"{value:.4f}" for value in parts[name]["curve"])]
        for framework in ("limbeck", "torchdistill")
        for name in accuracy.trainings_names(framework)
    ]
    columns = ("training and seed", *(str(epoch + 1) for epoch in range(EPOCHS)))
    return {
        "title": "Test accuracy after each epoch, teacher/student ratio 6",
        "columns": columns,
        "rows": rows,
    }


def _slower(rows: Mapping[str, Row], parts: Parts) -> Iterator[str]:
    """A sentence for each arm that takes less time than Limbeck's own of the same row."""
    found = [
        f"In {name}, {arm.name} takes {share:.2f} of Limbeck's {clock.upper() if clock == 'cpu' else clock} time."
        for name, row in rows.items()
        for arm in row.arms
        for clock in ("cpu", "wall")
        if arm.framework != "limbeck" and (share := _share(row, parts[name], arm.name, clock)) < 1
    ]
    yield from found or ["No peer is faster than Limbeck in any row."]


def _share(row: Row, found: Any, name: str, clock: str) -> float:
    theirs, ours = (median(total_seconds(row, found, each, clock)) for each in (name, "limbeck"))
    return theirs / ours
