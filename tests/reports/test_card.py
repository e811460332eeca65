"""The model card: front matter that the Hub reads, code that runs, numbers that are the report's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from limbeck.reports import Report, write_card
from limbeck.reports.markdown import escaped


def parts(report: Report, folder: Path) -> tuple[dict[str, Any], str]:
    write_card(report, folder / "MODEL_CARD.md")
    _, front, body = re.split(
        r"^---$", (folder / "MODEL_CARD.md").read_text(), maxsplit=2, flags=re.MULTILINE
    )
    return yaml.safe_load(front), body


def test_the_front_matter_holds_what_the_hub_reads(sample, tmp_path: Path) -> None:
    front, _ = parts(sample(), tmp_path)
    assert front["pipeline_tag"] == "image-classification"
    assert {"library_name", "tags", "datasets", "metrics", "model-index"} <= set(front)
    assert "base_model" not in front
    result = front["model-index"][0]["results"][0]
    assert result["task"]["type"] == "image-classification"
    assert {"type", "name"} <= set(result["dataset"])
    accuracy = next(metric for metric in result["metrics"] if metric["type"] == "accuracy")
    assert accuracy["value"] == pytest.approx(0.8963)


def test_a_name_that_looks_like_yaml_stays_a_name(sample, tmp_path: Path) -> None:
    front, _ = parts(sample(name="a: [b\n---\nc: 'd"), tmp_path)
    assert front["model-index"][0]["name"] == "a: [b\n---\nc: 'd"


def test_the_card_says_how_good_against_what_and_where_it_fails(sample, tmp_path: Path) -> None:
    _, body = parts(sample(), tmp_path)
    for section in (
        "Intended use",
        "Run it without torch",
        "Data",
        "Method",
        "Numbers",
        "Controls",
        "Limits",
    ):
        assert f"\n## {section}\n" in body
    for expected in (
        "96.9 to 97.8\u202f%",
        "Shirt (77.7\u202f%)",
        "under noise of severity 3",
        "Hard pseudo-labels",
        "kd.temperature: 4",
    ):
        assert expected in body


@pytest.mark.parametrize(
    ("names", "said"), [(["a.png"], "1 file of"), (["a.png", "b.png"], "2 files of"), ([], None)]
)
def test_files_that_were_left_out_are_a_limit(
    sample, tmp_path: Path, names: list[str], said: str | None
) -> None:
    _, body = parts(sample(data=sample().data | {"left_out": names}), tmp_path)
    assert ("could not be read, and were left out" in body) == bool(names)
    assert said is None or f"{said} the data could not be read" in body


def test_every_table_row_has_as_many_cells_as_its_head(sample, tmp_path: Path) -> None:
    _, body = parts(sample(), tmp_path)
    for table in re.findall(r"(?:^\|.*\n)+", body, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table


def test_text_from_data_is_escaped(sample, tmp_path: Path) -> None:
    data = sample().data | {"classes": ["<script>", "a|b*c"], "name": "<b>x</b>"}
    _, body = parts(sample(data=data, summary="<i>s</i>"), tmp_path)
    assert "<script>" not in body
    assert "<i>" not in body
    assert "a\\|b\\*c" in body
    assert escaped("[x](y)\n# z") == "\\[x\\](y) \\# z"


def test_a_report_without_optional_parts_has_a_card(bare: Report, tmp_path: Path) -> None:
    front, body = parts(bare, tmp_path)
    assert front["pipeline_tag"] == "tabular-classification"
    assert "not known: the teacher is too close to zero" in body


def test_the_code_in_the_card_runs(sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    _, body = parts(sample(), tmp_path)
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "labels.json").write_text(json.dumps(["first", "second"]))
    onnx.save(bytes_to_two_logits(), tmp_path / "exports" / "model.onnx")
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", body, re.DOTALL)
    assert code
    exec(code[1], {})  # noqa: S102 - the very code that users are told to run
    assert capsys.readouterr().out == "['second']\n"


def bytes_to_two_logits() -> onnx.ModelProto:
    """Raw uint8 images in; logits 0 and 1 out."""
    helper = onnx.helper
    nodes = [
        helper.make_node("Cast", ["raw"], ["floats"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.zeros((784, 2), np.float32), "weight"),
        onnx.numpy_helper.from_array(np.array([0, 1], np.float32), "bias"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("raw", onnx.TensorProto.UINT8, ["n", 28, 28, 1])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["n", 2])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
