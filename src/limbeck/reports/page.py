"""``report.html``: everything a run found, on one page that works offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from limbeck.files import write_text
from limbeck.reports import tables
from limbeck.reports.charts import charts
from limbeck.reports.pictures import data_uris
from limbeck.reports.rendering import rendered
from limbeck.reports.schema import Report


def write_page(report: Report, path: Path, *, pictures: NDArray[Any] | None = None) -> None:
    """Write the page, whole or not at all.

    Args:
        report: What the run found.
        path: The file; its folder is made if it is not there.
        pictures: uint8 ``[n, height, width, channels]``, in the order of ``report.lost``; a table of names
            stands in their place if None.

    Raises:
        DataError: If the pictures are of another shape, or not one for each lost sample.
        DiskError: If the disk refuses; what was there before stays.
    """
    gallery = list(zip(report.lost, data_uris(pictures, len(report.lost)), strict=True))
    write_text(path, rendered("report.html.j2", r=report, t=tables, charts=charts(report), gallery=gallery))
