"""Write a student in every format that is asked for, and check each file against it."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.export import ExportedProgram

from limbeck.compress import quantize
from limbeck.data.preprocessing import Preprocessing
from limbeck.errors import ExportError
from limbeck.export.deployed import Deployed
from limbeck.export.onnx import write_onnx
from limbeck.export.parity import answers, check_parity, parity
from limbeck.export.program import traced, write_program
from limbeck.export.runtime import Runner, open_module, open_onnx, open_program
from limbeck.files import write_json
from limbeck.models import Architecture, load_weights, save_student
from limbeck.recipe.exports import Exports, Format

FILES: Final[dict[Format, str]] = {
    "onnx": "model.onnx",
    "onnx-int8": "model-int8.onnx",
    "pt2": "model.pt2",
    "safetensors": "model.safetensors",
}
"""The name of each format's file."""


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """A file that was written, run on held-out samples, and compared with the student."""

    format: Format
    path: Path
    bytes: int
    precision: str
    """``fp32`` or ``int8``."""
    max_abs_error: float
    """Largest difference of a logit from the student's in torch."""
    agreement: float
    """Share of the held-out samples on which both choose the same class."""
    metrics: dict[str, float]
    """The file's own, on the held-out samples."""
    quantised_operators: int | None = None
    """Operators that compute on integers, for an int8 file."""


def export_student(
    module: nn.Module,
    preprocessing: Preprocessing,
    classes: Sequence[str],
    folder: Path,
    *,
    calibration_raw: NDArray[Any],
    check_raw: NDArray[Any],
    check_labels: NDArray[np.int64],
    exports: Exports | None = None,
    architecture: Architecture | None = None,
) -> list[ExportRecord]:
    """Write a student's files, with ``preprocessing.json`` and ``labels.json`` beside them, and check each.

    Args:
        module: The trained student, from model inputs to logits; it is not changed.
        preprocessing: Fitted. It goes into the graphs, and into its own file for whoever decodes the images.
        classes: The name of each logit.
        folder: Made if it is not there; files in it are replaced one by one, each whole.
        calibration_raw: Raw training samples ``[n, ...]``; the first ``calibration_examples`` are used.
        check_raw: Raw held-out samples ``[m, ...]``.
        check_labels: Their labels, all known.
        exports: Formats and bounds; the defaults if None.
        architecture: How the student is rebuilt, where the module does not know it.

    Returns:
        One record a file, in the order of the formats.

    Raises:
        ExportError: If the student cannot be written in a format.
        ExportMismatchError: If a file answers otherwise than the student; the files stay for inspection.
    """
    exports = exports if exports is not None else Exports()
    deployed = Deployed(module, preprocessing.module())
    check_raw, calibration_raw = _plain(check_raw), _plain(calibration_raw)
    reference = answers(open_module(deployed), check_raw)
    if reference.shape[1] != len(classes):
        raise ExportError(
            f"the student has {reference.shape[1]} logits, but there are {len(classes)} classes."
        )
    write_json(folder / "preprocessing.json", preprocessing.model_dump(mode="json"))
    write_json(folder / "labels.json", list(classes))
    job = _Job(module, preprocessing, len(classes), folder, exports, architecture, deployed)
    counts = job.write(check_raw[:2], calibration_raw[: exports.calibration_examples])
    return [
        _record(format_, job, check_raw, reference, check_labels, counts.get(format_))
        for format_ in exports.formats
    ]


def exportable(
    module: nn.Module, preprocessing: Preprocessing, example: NDArray[Any], *, exports: Exports | None = None
) -> None:
    """Find out in seconds, before any training, whether a student can be written in every format.

    Args:
        module: The student, trained or not.
        preprocessing: Fitted.
        example: A few raw samples ``[n, ...]``.
        exports: Formats; the defaults if None.

    Raises:
        ExportError: If not: the message names the operator or the place, and the cure.
    """
    job = _Job(
        module, preprocessing, 0, Path(), exports if exports is not None else Exports(), None,
        Deployed(module, preprocessing.module()),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        job.folder = Path(folder)
        job.write(_plain(example)[:2], _plain(example), weights=False)


@dataclass(slots=True)
class _Job:
    """One student on its way into a folder."""

    module: nn.Module
    preprocessing: Preprocessing
    classes: int
    folder: Path
    exports: Exports
    architecture: Architecture | None
    deployed: Deployed

    def path(self, format_: Format) -> Path:
        return self.folder / FILES[format_]

    def write(
        self, example: NDArray[Any], calibration: NDArray[Any], *, weights: bool = True
    ) -> dict[str, int]:
        """Write every file; quantised operators by format."""
        formats = self.exports.formats
        if weights and "safetensors" in formats:
            shape = self.preprocessing.shape(tuple(example.shape[1:]))
            save_student(
                self.folder, self.module, config=self.architecture, shape=shape, classes=self.classes
            )
        if not set(formats) - {"safetensors"}:
            return {}
        program = traced(self.deployed, torch.from_numpy(example))
        counts = self._write_onnx(program, calibration)
        if "pt2" in formats:
            write_program(program, self.path("pt2"))
        return counts

    def _write_onnx(self, program: ExportedProgram, calibration: NDArray[Any]) -> dict[str, int]:
        formats = self.exports.formats
        if not {"onnx", "onnx-int8"} & set(formats):
            return {}
        with tempfile.TemporaryDirectory() as folder:
            source = self.path("onnx") if "onnx" in formats else Path(folder) / FILES["onnx"]
            write_onnx(program, source)
            if "onnx-int8" not in formats:
                return {}
            return {"onnx-int8": sum(quantize(source, self.path("onnx-int8"), calibration).values())}

    def open(self, format_: Format) -> Runner:
        """The written file as a function."""
        if format_ == "pt2":
            return open_program(self.path(format_))
        if format_ == "safetensors":
            read = copy.deepcopy(self.module)
            load_weights(read, self.path(format_))
            return open_module(Deployed(read, self.preprocessing.module()))
        return open_onnx(self.path(format_))


def _record(
    format_: Format,
    job: _Job,
    raw: NDArray[Any],
    reference: NDArray[np.float32],
    labels: NDArray[np.int64],
    quantised: int | None,
) -> ExportRecord:
    path, precision = job.path(format_), "int8" if format_ == "onnx-int8" else "fp32"
    found = parity(answers(job.open(format_), raw), reference, labels)
    check_parity(found, path, precision, job.exports)
    return ExportRecord(
        format=format_,
        path=path,
        bytes=path.stat().st_size,
        precision=precision,
        max_abs_error=found.max_abs_error,
        agreement=found.agreement,
        metrics=found.metrics,
        quantised_operators=quantised,
    )


def _plain(raw: NDArray[Any]) -> NDArray[Any]:
    """Raw samples as the files take them: bytes stay bytes, every other number becomes float32."""
    return np.ascontiguousarray(raw if raw.dtype == np.uint8 else raw.astype(np.float32))
