"""report.json keeps to the schema that the package carries."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from limbeck.reports import SCHEMA, Report, report_schema, write_report
from limbeck.reports.rendering import packaged


def packaged_schema() -> dict[str, object]:
    found: dict[str, object] = json.loads(packaged("report.schema.json"))
    return found


def test_the_packaged_schema_is_the_models() -> None:
    assert packaged_schema() == report_schema(), "write report_schema() to reports/report.schema.json"


def test_every_field_of_the_schema_but_plain_ones_is_described() -> None:
    described = packaged_schema()["properties"]
    assert isinstance(described, dict)
    assert {"metric", "robustness", "ratios"} <= {
        name for name, field in described.items() if field.get("description")
    }


@pytest.mark.parametrize("kind", ["full", "bare"])
def test_a_written_report_keeps_to_the_schema(kind: str, sample, bare: Report, tmp_path: Path) -> None:
    report = sample() if kind == "full" else bare
    write_report(report, tmp_path / "run" / "report.json")
    written = json.loads((tmp_path / "run" / "report.json").read_text())
    jsonschema.Draft202012Validator.check_schema(packaged_schema())
    jsonschema.Draft202012Validator(packaged_schema()).validate(written)
    assert written["schema"] == SCHEMA


def test_a_written_report_reads_back_as_it_was(sample, tmp_path: Path) -> None:
    write_report(sample(), tmp_path / "report.json")
    assert Report.model_validate(json.loads((tmp_path / "report.json").read_text())) == sample()


def test_a_number_that_is_not_finite_is_written_as_null(sample, tmp_path: Path) -> None:
    write_report(sample(robustness={"examples": float("nan")}), tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["robustness"] == {"examples": None}
