"""Where the time of a run's trainings went, as text."""

from __future__ import annotations

from limbeck.cli.table import table
from limbeck.pipeline.folder import RunFolder
from limbeck.pipeline.profiling import profiles
from limbeck.training.phases import PHASES


def profile_text(folder: RunFolder) -> str:
    """A row for each training that was profiled: time of a step, and the share of each part in percent."""
    found = profiles(folder)
    if not found:
        return (
            "No training was profiled: all were found finished, here or in the cache. Run into a new folder, with "
            "LIMBECK_CACHE set to an empty one."
        )
    columns = ("training", "steps", "ms/step", *(f"{name} %" for name in (*PHASES, "other")))
    rows = []
    for record in found:
        whole, steps = record["seconds"] or 1.0, record["steps"] or 1
        shares = [f"{100 * record['parts'][name] / whole:.1f}" for name in (*PHASES, "other")]
        rows.append((record["job"], record["steps"], f"{1000 * record['seconds'] / steps:.2f}", *shares))
    note = f"Traces of a few steps, for chrome://tracing or ui.perfetto.dev: {folder.profile}/*.trace.json.gz"
    return f"{table(columns, rows, right=columns[1:])}\n{note}"
