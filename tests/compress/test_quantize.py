"""An int8 file computes on integers throughout, is small, and answers nearly as before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from limbeck.compress import operators, quantize
from limbeck.errors import ExportError

CALIBRATION = np.random.default_rng(0).integers(0, 256, (96, 1, 12, 12)).astype(np.uint8)


def _save(path: Path, nodes: Sequence[onnx.NodeProto], constants: dict[str, np.ndarray]) -> Path:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("raw", TensorProto.UINT8, ["batch", 1, 12, 12])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def _weights(*, shift: float) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(1)
    return {
        "shift": np.full((1, 1, 1, 1), shift, np.float32),
        "kernel": (draw.normal(size=(32, 1, 3, 3)) / 100).astype(np.float32),
        "scale": draw.uniform(0.5, 2, 32).astype(np.float32),
        "bias": draw.normal(size=32).astype(np.float32),
        "mean": draw.normal(size=32).astype(np.float32),
        "variance": draw.uniform(0.5, 2, 32).astype(np.float32),
        "head": draw.normal(size=(32, 4)).astype(np.float32),
    }


def _convolutional(path: Path, *, shift: float = -72.93) -> Path:
    node = helper.make_node
    nodes = [
        node("Cast", ["raw"], ["float"], "cast", to=TensorProto.FLOAT),
        node("Add", ["float", "shift"], ["shifted"], "shift"),
        node("Conv", ["shifted", "kernel"], ["convolved"], "convolution", pads=[1, 1, 1, 1]),
        node(
            "BatchNormalization",
            ["convolved", "scale", "bias", "mean", "variance"],
            ["normal"],
            "normalisation",
        ),
        node("Relu", ["normal"], ["positive"], "relu"),
        node("GlobalAveragePool", ["positive"], ["pooled"], "pool"),
        node("Flatten", ["pooled"], ["flat"], "flatten"),
        node("Gemm", ["flat", "head"], ["logits"], "head"),
    ]
    return _save(path, nodes, _weights(shift=shift))


def _answer(path: Path, raw: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"raw": raw})[0]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, int]]:
    folder = tmp_path_factory.mktemp("quantised")
    source, target = _convolutional(folder / "fp32.onnx"), folder / "int8.onnx"
    return source, target, quantize(source, target, CALIBRATION)


def test_every_layer_computes_on_integers(files: tuple[Path, Path, dict[str, int]]) -> None:
    _, target, counts = files
    assert counts == {"QLinearConv": 1, "QLinearGlobalAveragePool": 1, "QGemm": 1}
    assert not {"Conv", "Gemm", "BatchNormalization"} & set(operators(target))


def test_raw_bytes_are_read_as_they_are(files: tuple[Path, Path, dict[str, int]]) -> None:
    _, target, _ = files
    assert not {"Cast", "Add", "QuantizeLinear"} & set(operators(target))


def test_logits_are_not_rounded_to_eight_bits(files: tuple[Path, Path, dict[str, int]]) -> None:
    _, target, _ = files
    draw = np.random.default_rng(2)
    assert len(np.unique(_answer(target, draw.integers(0, 256, (200, 1, 12, 12)).astype(np.uint8)))) > 256


def test_the_answers_stay_close(files: tuple[Path, Path, dict[str, int]]) -> None:
    source, target, _ = files
    before, after = _answer(source, CALIBRATION), _answer(target, CALIBRATION)
    assert np.abs(before - after).max() < 0.05 * np.abs(before).max()


def test_the_same_file_is_written_again(files: tuple[Path, Path, dict[str, int]], tmp_path: Path) -> None:
    source, target, _ = files
    quantize(source, tmp_path / "again.onnx", CALIBRATION)
    assert (tmp_path / "again.onnx").read_bytes() == target.read_bytes()


@pytest.mark.parametrize("shift", [-300.0, 12.0, -72.5])
def test_a_shift_that_no_byte_stands_for_is_quantised_in_the_ordinary_way(
    shift: float, tmp_path: Path
) -> None:
    source = _convolutional(tmp_path / "fp32.onnx", shift=shift)
    quantize(source, tmp_path / "int8.onnx", CALIBRATION)
    before, after = _answer(source, CALIBRATION), _answer(tmp_path / "int8.onnx", CALIBRATION)
    assert np.abs(before - after).max() < 0.05 * np.abs(before).max()


def test_a_layer_without_an_integer_kernel_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["raw"], ["float"], "cast", to=TensorProto.FLOAT),
        helper.make_node("ConvTranspose", ["float", "kernel"], ["up"], "up"),
        helper.make_node("ReduceMean", ["up", "axes"], ["logits"], "mean", keepdims=0),
    ]
    constants = {"kernel": np.ones((1, 4, 2, 2), np.float32), "axes": np.array([2, 3])}
    source = _save(tmp_path / "fp32.onnx", nodes, constants)
    with pytest.raises(ExportError, match=r"1 ConvTranspose .* in fp32.*onnx-int8"):
        quantize(source, tmp_path / "int8.onnx", CALIBRATION)
    assert [path.name for path in tmp_path.iterdir()] == ["fp32.onnx"]


def test_no_calibration_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="calibration_examples"):
        quantize(tmp_path / "any.onnx", tmp_path / "int8.onnx", CALIBRATION[:0])
