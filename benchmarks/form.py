"""The one form that every benchmark's result has, and how a paired ratio gets its interval."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.evaluation import hardware
from limbeck.files import write_json

RESULTS = Path(__file__).parent / "results"
_RESAMPLES = 5000


def ratio(
    over: Sequence[float], under: Sequence[float], *, better: str, goal: float | None = None
) -> dict[str, Any]:
    """The median of paired ratios, with the 95 % interval of that median.

    Args:
        over: Numerators, one for each repetition.
        under: Denominators of the same repetitions.
        better: ``higher`` or ``lower``.
        goal: What it should reach.
    """
    ratios = np.asarray(over) / np.asarray(under)
    draws = np.random.default_rng(0).choice(ratios, (_RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    found: dict[str, Any] = {"value": round(float(np.median(ratios)), 4), "low": round(float(low), 4)}
    found |= {"high": round(float(high), 4), "unit": "ratio", "better": better, "repetitions": len(ratios)}
    return found if goal is None else {**found, "goal": goal}


def write(name: str, figures: dict[str, Any], **facts: Any) -> Path:
    """Write ``results/NAME.json``.

    Args:
        name: The benchmark's.
        figures: By name, as :func:`ratio` returns them.
        facts: What else a reader needs: models, batch sizes, medians.
    """
    machine = hardware()
    path = RESULTS / f"{name}.json"
    head = {
        "name": name,
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": {key: machine[key] for key in ("cpu", "cores", "memory_gb", "machine")},
        "versions": {"python": machine["python"], **machine["versions"]},
        "command": f"make bench NAME={name}",
    }
    write_json(path, {**head, "figures": figures, **facts})
    return path


def peers_versions(*packages: str) -> dict[str, str]:
    """The versions that every result has, and those of some peers, which must be installed."""
    machine = hardware()
    return {"python": machine["python"], **machine["versions"]} | {name: version(name) for name in packages}


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
