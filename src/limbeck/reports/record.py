"""``report.json`` and the JSON Schema that it keeps to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from limbeck.files import write_json
from limbeck.reports.schema import SCHEMA, Report


def write_report(report: Report, path: Path) -> None:
    """Write ``report.json``, whole or not at all. A number that is not finite becomes null.

    Args:
        report: What the run found.
        path: The file; its folder is made if it is not there.

    Raises:
        DiskError: If the disk refuses; what was there before stays.
    """
    write_json(path, report.model_dump(mode="json", by_alias=True))


def report_schema() -> dict[str, Any]:
    """The JSON Schema of ``report.json`` (draft 2020-12), with a description of every field.

    The package carries the same as ``reports/report.schema.json``.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:limbeck:{SCHEMA}",
        **Report.model_json_schema(by_alias=True, mode="serialization"),
    }
