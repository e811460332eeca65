"""Rows of text with their columns aligned, the same in a terminal and in a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> str:
    """A table as text.

    Args:
        header: The columns' names.
        rows: One cell a column each.
        right: Columns that are aligned on the right, as numbers are.
    """
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    to_right = [name in set(right) for name in header]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(row, widths, to_right, strict=True)
        ).rstrip()
        for row in cells
    )


def size(count: int) -> str:
    """A number of bytes, short: ``2.7 MB``."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
