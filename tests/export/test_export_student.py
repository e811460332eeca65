"""From a trained student to files that answer as it does, with and without torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from limbeck.data.preprocessing import Preprocessing
from limbeck.errors import ExportError, ExportMismatchError, ModelError
from limbeck.export import (
    Deployed,
    ExportRecord,
    export_student,
    exportable,
    open_module,
    open_onnx,
    open_program,
)
from limbeck.export.parity import check_parity, parity
from limbeck.models import Residual, load_student
from limbeck.recipe.exports import Exports

CLASSES = [f"digit {number}" for number in range(10)]
PREPROCESSING = Preprocessing(size=(8, 8), colour="grey", mean=(0.3053,), std=(0.3759,))


@dataclass(frozen=True)
class Shipped:
    module: nn.Module
    folder: Path
    records: dict[str, ExportRecord]
    raw: np.ndarray
    labels: np.ndarray


def _digits() -> tuple[np.ndarray, np.ndarray]:
    digits = load_digits()
    return np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None], digits.target.astype(np.int64)


def _trained(raw: np.ndarray, labels: np.ndarray) -> nn.Module:
    torch.manual_seed(0)
    module = Residual(width=8, depth=1, stages=2).build((1, 8, 8), 10)
    inputs, wanted = PREPROCESSING.apply(torch.from_numpy(raw)), torch.from_numpy(labels)
    optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9, nesterov=True)
    slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.01, total_iters=100)
    for step in range(100):
        rows = torch.arange(step * 64, step * 64 + 64) % len(inputs)
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(inputs[rows]), wanted[rows]).backward()
        optimizer.step()
        slower.step()
    return module


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    raw, labels = _digits()
    module, folder = _trained(raw[:1200], labels[:1200]), tmp_path_factory.mktemp("exports")
    records = export_student(
        module,
        PREPROCESSING,
        CLASSES,
        folder,
        calibration_raw=raw[:1200],
        check_raw=raw[1200:],
        check_labels=labels[1200:],
    )
    return Shipped(module, folder, {record.format: record for record in records}, raw[1200:], labels[1200:])


def test_fp32_files_answer_as_the_student(shipped: Shipped) -> None:
    for name in ("onnx", "pt2", "safetensors"):
        record = shipped.records[name]
        assert (record.precision, record.agreement, record.quantised_operators) == ("fp32", 1.0, None)
        assert record.max_abs_error < 1e-4
        assert record.metrics["accuracy"] > 0.8
        assert record.bytes == record.path.stat().st_size > 0


def test_the_int8_file_is_small_and_computes_on_integers(shipped: Shipped) -> None:
    record, fp32 = shipped.records["onnx-int8"], shipped.records["onnx"]
    assert record.precision == "int8"
    assert record.quantised_operators == 6 + 2 + 1 + 1  # convolutions, sums, pool, product
    assert record.agreement >= 0.95
    assert record.bytes < 0.75 * fp32.bytes


def test_the_student_is_left_as_it_was(shipped: Shipped) -> None:
    assert shipped.module.training
    assert all(parameter.requires_grad for parameter in shipped.module.parameters())


@pytest.mark.parametrize("name", ["onnx", "onnx-int8", "pt2"])
@pytest.mark.parametrize("count", [1, 3])
def test_any_number_of_examples_can_be_asked_at_once(name: str, count: int, shipped: Shipped) -> None:
    path = shipped.records[name].path
    run = open_program(path) if name == "pt2" else open_onnx(path)
    together = run(shipped.raw[:5])
    assert run(shipped.raw[:count]).shape == (count, 10)
    np.testing.assert_allclose(run(shipped.raw[:count]), together[:count], atol=1e-5)


def test_the_weights_rebuild_the_student(shipped: Shipped) -> None:
    again = Deployed(load_student(shipped.folder), PREPROCESSING.module())
    first = Deployed(shipped.module, PREPROCESSING.module())
    np.testing.assert_array_equal(open_module(again)(shipped.raw[:9]), open_module(first)(shipped.raw[:9]))


def test_no_path_of_this_machine_is_in_a_file(shipped: Shipped) -> None:
    for record in shipped.records.values():
        written = record.path.read_bytes()
        assert not re.search(rb"/\w+\.py\b", written), record.path.name


WITHOUT_TORCH = """
import json, sys
from pathlib import Path
import numpy, onnxruntime
from PIL import Image
folder, picture = Path(sys.argv[1]), sys.argv[2]
facts = json.loads((folder / "preprocessing.json").read_text())
labels = json.loads((folder / "labels.json").read_text())
height, width = facts["size"]
image = Image.open(picture).convert({"grey": "L", "rgb": "RGB"}[facts["colour"]]).resize((width, height))
raw = numpy.asarray(image, dtype=numpy.uint8).reshape(1, height, width, -1)
answers = {}
for name in ("model.onnx", "model-int8.onnx"):
    session = onnxruntime.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
    answers[name] = labels[int(session.run(None, {"raw": raw})[0].argmax())]
assert "torch" not in sys.modules and "limbeck" not in sys.modules
print(json.dumps(answers))
"""


def test_a_picture_gets_its_answer_without_torch(shipped: Shipped, tmp_path: Path) -> None:
    truth = open_module(Deployed(shipped.module, PREPROCESSING.module()))(shipped.raw)
    margin = np.sort(truth, axis=1)[:, -1] - np.sort(truth, axis=1)[:, -2]
    row = int(margin.argmax())
    Image.fromarray(shipped.raw[row, ..., 0]).save(tmp_path / "picture.png")
    answered = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(shipped.folder), str(tmp_path / "picture.png")],
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = CLASSES[int(truth[row].argmax())]
    assert json.loads(answered.stdout) == {"model.onnx": wanted, "model-int8.onnx": wanted}


def test_a_file_that_answers_otherwise_is_refused(shipped: Shipped) -> None:
    reference = open_module(Deployed(shipped.module, PREPROCESSING.module()))(shipped.raw)
    off = reference.copy()
    off[3, 4] += 0.5
    with pytest.raises(ExportMismatchError, match=r"model\.onnx: a logit differs .* by 0\.5.*fp32_error"):
        check_parity(parity(off, reference, shipped.labels), Path("model.onnx"), "fp32", Exports())
    rolled = np.roll(reference, 1, axis=1)
    with pytest.raises(ExportMismatchError, match=r"agrees .* on 0\.0000 .* 0\.95 .*int8_agreement"):
        check_parity(parity(rolled, reference, shipped.labels), Path("model-int8.onnx"), "int8", Exports())


def test_answers_that_are_not_numbers_are_refused(shipped: Shipped) -> None:
    reference = open_module(Deployed(shipped.module, PREPROCESSING.module()))(shipped.raw)
    broken = np.full_like(reference, np.nan)
    for precision in ("fp32", "int8"):
        with pytest.raises(ExportMismatchError):
            check_parity(parity(broken, reference, shipped.labels), Path("a"), precision, Exports())


def test_a_wrong_number_of_classes_is_refused_before_anything_is_written(
    shipped: Shipped, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="10 logits, but there are 3 classes"):
        export_student(
            shipped.module,
            PREPROCESSING,
            CLASSES[:3],
            tmp_path,
            calibration_raw=shipped.raw,
            check_raw=shipped.raw,
            check_labels=shipped.labels,
        )
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    for opened in (open_onnx, open_program):
        path = tmp_path / "damaged.pt2"
        path.write_bytes(b"nothing")
        with pytest.raises(ModelError, match=r"damaged\.pt2 cannot be loaded"):
            opened(path)


class _Branching(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        plain = inputs.flatten(1)
        return plain[:, :10] if plain.sum() > 0 else plain[:, 10:20]


class _Fixed(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.reshape(2, -1)[:, :10]


class _Bessel(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(inputs.flatten(1))[:, :10]


CANNOT = {
    "branches": (_Branching, r"_Branching cannot be exported.*values of a tensor \(test_export_student\.py:"),
    "fixes the batch": (_Fixed, r"_Fixed cannot be exported.*batch size.*inputs\.shape\[0\]"),
    "unknown operator": (
        _Bessel,
        r"bessel_j0 \(in .*student.*_Bessel.*test_export_student\.py:\d+\) has no counterpart in ONNX.*pt2",
    ),
}


@pytest.mark.parametrize(("student", "message"), CANNOT.values(), ids=CANNOT)
def test_what_cannot_be_exported_is_named_before_any_training(
    student: type[nn.Module], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    raw, _ = _digits()
    with pytest.raises(ExportError, match=message) as raised:
        exportable(student(), PREPROCESSING, raw[:2])
    assert raised.value.exit_code == 2
    assert capfd.readouterr() == ("", "")


def test_what_can_be_exported_passes_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    raw, _ = _digits()
    untrained = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    exportable(untrained, PREPROCESSING, raw[:1])
    exportable(_Branching(), PREPROCESSING, raw[:1], exports=Exports(formats=("safetensors",)))
    assert capfd.readouterr() == ("", "")


def test_features_are_exported_too(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    raw, labels = draw.normal(3, 2, (80, 5)), draw.integers(0, 3, 80)
    preprocessing = Preprocessing(kind="features", mean=(3.0,) * 5, std=(2.0,) * 5)
    student = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    (record,) = export_student(
        student,
        preprocessing,
        ["a", "b", "c"],
        tmp_path,
        calibration_raw=raw,
        check_raw=raw,
        check_labels=labels,
        exports=Exports(formats=("onnx-int8",), int8_agreement=0.8),
    )
    assert record.quantised_operators == 2
    assert {path.name for path in tmp_path.iterdir()} == {
        "model-int8.onnx",
        "preprocessing.json",
        "labels.json",
    }
