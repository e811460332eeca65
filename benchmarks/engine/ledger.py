"""What is measured already, so that a benchmark goes on where it was stopped, as long as the code is the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import torch

import limbeck
from limbeck.evaluation import hardware
from limbeck.files import cache_home
from limbeck.types import digest

_HERE: Final = Path(__file__).parent
_ORDERING: Final = ("__main__.py", "board.py", "ledger.py", "separate.py")
"""What only calls what measures, or works out what was measured."""


class Ledger:
    """Finished parts, a line each, in the cache.

    Args:
        path: The file; by default in the user's cache.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or cache_home() / "benchmarks" / "engine.jsonl"
        self._state = _state()

    def parts(self) -> dict[str, Any]:
        """By name: what was measured with this code on this machine. A line that a kill cut short does not count."""
        found = {}
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                try:
                    part = json.loads(line)
                except ValueError:
                    continue
                if part["state"] == self._state:
                    found[part["name"]] = part["measured"]
        return found

    def write_down(self, name: str, measured: Any) -> None:
        """Append a finished part."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"state": self._state, "name": name, "measured": measured}) + "\n")


def _state() -> str:
    """Changes with the code that is measured, the code that measures, the machine and torch."""
    measuring = [path for path in _HERE.glob("*.py") if path.name not in _ORDERING]
    sources = [*Path(limbeck.__file__).parent.rglob("*.py"), *measuring]
    found = hashlib.sha256()
    for source in sorted(sources):
        found.update(source.read_bytes())
    machine = hardware()
    return digest([found.hexdigest(), torch.__version__, machine["cpu"], machine["cores"]])
