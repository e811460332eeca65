"""The export stage: the shipped student and its teacher as files, each run, compared, and timed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from limbeck.export import ExportRecord, export_student, open_onnx
from limbeck.export.parity import answers
from limbeck.files import replacing, write_json
from limbeck.pipeline.answering import student_of
from limbeck.pipeline.bench import BLOCK_EXAMPLES, time_files
from limbeck.pipeline.context import Context
from limbeck.pipeline.events import Advanced, Event
from limbeck.pipeline.students import rebuildable, trained
from limbeck.recipe import Exports
from limbeck.reports import Efficiency

TEACHER_LOGITS = "teacher-int8-logits.npy"
"""The quantised teacher's answers to the test data, for its verdict."""


def export(context: Context) -> Iterator[Event]:
    """Write ``exports/`` and what was found in ``exports.json``.

    Raises:
        ExportMismatchError: If a student's file does not answer as the student does.
    """
    folder, settings = context.folder.exports, context.recipe.export
    calibration, check, labels = _samples(context)
    yield Advanced("export", "student's files", 0, 3)
    found = trained(context, "student")
    records = [
        ("student", record)
        for record in export_student(
            student_of(context, found.best),
            context.preprocessing,
            context.classes,
            folder,
            calibration_raw=calibration,
            check_raw=check,
            check_labels=labels,
            exports=settings,
            architecture=rebuildable(context, found.arm),
        )
    ]
    yield Advanced("export", "teacher's files", 1, 3)
    records += [("teacher", record) for record in _teacher(context, calibration, check, labels)]
    yield Advanced("export", "timing", 2, 3)
    timed = _timed(context, [record.path for _, record in records], check)
    rows = [_row(context, owner, record, timed.get(record.path)) for owner, record in records]
    write_json(context.folder.path / "exports.json", rows)
    yield Advanced("export", "timing", 3, 3)


def _samples(context: Context) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Raw samples to calibrate on, without labels, from the training pool; and the test data to compare on."""
    train, test = context.splits.train, context.splits.test
    count = min(len(train), context.recipe.export.calibration_examples)
    rows = torch.argsort(train.ids)[:count]
    return train.raw(rows).numpy(), test.raw(torch.arange(len(test))).numpy(), test.labels.numpy()


def _teacher(
    context: Context, calibration: NDArray[Any], check: NDArray[Any], labels: NDArray[np.int64]
) -> Sequence[ExportRecord]:
    """The teacher in the same runtime: to compare speed and size with, and merely quantised, as a control."""
    wanted = {"onnx", "onnx-int8"} & set(context.recipe.export.formats)
    if "quantised-teacher" in context.recipe.controls:
        wanted |= {"onnx", "onnx-int8"}
    if not wanted:
        return []
    folder = context.folder.exports / "teacher"
    records = export_student(
        context.teacher_module,
        context.preprocessing,
        context.classes,
        folder,
        calibration_raw=calibration,
        check_raw=check,
        check_labels=labels,
        exports=Exports(formats=tuple(sorted(wanted)), int8_agreement=0.0),
    )
    for record in records:
        if record.format == "onnx-int8":
            _save(context.folder.exports / TEACHER_LOGITS, answers(open_onnx(record.path), check))
    return records


def _save(path: Path, logits: NDArray[np.float32]) -> None:
    with replacing(path) as file:
        np.save(file, logits)


def _timed(context: Context, paths: Sequence[Path], check: NDArray[Any]) -> dict[Path, Efficiency]:
    files = [path for path in paths if path.suffix == ".onnx"]
    block = check[np.arange(BLOCK_EXAMPLES) % len(check)]
    return time_files(files, block, context.recipe.evaluation) if files else {}


def _row(context: Context, owner: str, record: ExportRecord, efficiency: Efficiency | None) -> dict[str, Any]:
    return {
        "model": owner,
        "format": record.format,
        "path": str(record.path.relative_to(context.folder.path)),
        "bytes": record.bytes,
        "precision": record.precision,
        "max_abs_error": record.max_abs_error,
        "agreement": record.agreement,
        "metrics": record.metrics,
        "quantised_operators": record.quantised_operators,
        "efficiency": efficiency.model_dump(mode="json") if efficiency else None,
    }
