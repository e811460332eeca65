"""``MODEL_CARD.md``: the shipped student for those who will use it, with Hugging Face front matter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml

from limbeck.files import write_text
from limbeck.reports import figures, tables
from limbeck.reports.limits import limits
from limbeck.reports.markdown import rendered
from limbeck.reports.schema import ExportResult, Report

_HUB_DATASETS: Final = {"fashion-mnist": "zalando-datasets/fashion_mnist"}


def write_card(report: Report, path: Path) -> None:
    """Write the model card, whole or not at all.

    Args:
        report: What the run found.
        path: The file, in the run folder, from which the card names the exported files.

    Raises:
        DiskError: If the disk refuses; what was there before stays.
    """
    file = runnable(report)
    body = rendered("card.md.j2", r=report, t=tables, limits=limits(report), file=file, input=_input(report))
    front = yaml.safe_dump(front_matter(report), sort_keys=False, allow_unicode=True, width=1000)
    write_text(path, f"---\n{front}---\n\n{body}")


def front_matter(report: Report) -> dict[str, Any]:
    """What the Hub reads of a card. The licence is left to whoever publishes the model."""
    source = str(report.data.get("source", "data"))
    found: dict[str, Any] = {
        "library_name": "limbeck",
        "pipeline_tag": _pipeline(report),
        "tags": ["knowledge-distillation", "model-compression", _pipeline(report), *_formats(report)],
    }
    if source in _HUB_DATASETS:
        found["datasets"] = [_HUB_DATASETS[source]]
    found["metrics"] = [report.metric]
    found["model-index"] = [{"name": report.name, "results": [_result(report, source)]}]
    return found


def runnable(report: Report) -> ExportResult | None:
    """The ONNX file that the card shows how to run: the fastest that was timed, else any."""
    return tables.for_speed(report.exports) or next(
        (file for file in report.exports if file.model == "student" and file.format.startswith("onnx")), None
    )


def _result(report: Report, source: str) -> dict[str, Any]:
    file = runnable(report)
    measured = file.metrics if file else report.student.metrics
    of = f"of {file.path}" if file else "mean over seeds"
    return {
        "task": {"type": _pipeline(report)},
        "dataset": {
            "name": str(report.data.get("name", source)),
            "type": _HUB_DATASETS.get(source, _slug(source)),
            "split": "test",
        },
        "metrics": [
            {"type": name, "value": round(value, 6), "name": f"Test {name} {of}", "verified": False}
            for name, value in measured.items()
        ],
    }


def _pipeline(report: Report) -> str:
    return "image-classification" if _is_image(report) else "tabular-classification"


def _is_image(report: Report) -> bool:
    return report.data.get("kind") == "image"


def _input(report: Report) -> dict[str, Any]:
    """The raw input that the exported file takes."""
    shape = [int(side) for side in report.data.get("shape", [])]
    image = _is_image(report)
    return {
        "shape": ", ".join(str(side) for side in (1, *shape)) + ("," if not shape else ""),
        "dtype": "uint8" if image else "float32",
        "words": "[n, height, width, channels], values 0 to 255" if image else f"[n, {figures.plain(shape)}]",
    }


def _formats(report: Report) -> list[str]:
    files = {file.format for file in report.exports if file.model == "student"}
    tags = [tag for tag in ("onnx", "safetensors") if any(name.startswith(tag) for name in files)]
    return [*tags, "int8"] if any("int8" in name for name in files) else tags


def _slug(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip("-") or "data"
