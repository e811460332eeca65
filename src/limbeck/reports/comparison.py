"""Several runs' files on one page: a leaderboard, and which files nothing else beats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from limbeck.files import write_text
from limbeck.reports.charts import comparison_charts
from limbeck.reports.rendering import rendered


def write_comparison(entries: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the page, whole or not at all.

    Args:
        entries: One a file, the best first: ``run`` (its folder), ``file``, ``metric``, ``bytes``,
            ``p50_ms``, ``retention`` and ``verdict`` (each null where there is none), ``data`` (digest of the
            data), and ``front`` (whether no other file is at least as good, small and fast).
        path: The file; its folder is made if it is not there.

    Raises:
        DiskError: If the disk refuses; what was there before stays.
    """
    runs = _short({str(entry["run"]): None for entry in entries})
    mixed = len({entry.get("data") for entry in entries}) > 1
    page = rendered(
        "comparison.html.j2",
        entries=entries,
        runs=runs,
        mixed=mixed,
        charts=comparison_charts(entries, runs),
    )
    write_text(path, page)


def _short(runs: Iterable[str]) -> dict[str, str]:
    """The last part of each folder, and more of it where two are alike."""
    parts = {run: PurePath(run).parts or (run,) for run in runs}
    found = {}
    for run, own in parts.items():
        length = 1
        while length < len(own) and any(
            other[-length:] == own[-length:] for name, other in parts.items() if name != run
        ):
            length += 1
        found[run] = "/".join(own[-length:])
    return found
