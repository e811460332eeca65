"""The run folder: where everything of a run lies, and what is known of each stage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from limbeck.errors import RunError, UserError
from limbeck.files import disk_errors, read_json, write_json, write_text
from limbeck.pipeline.arms import TEACHER

_OWN = (".lock", ".run.json.")
"""What a run that was killed before its record was written may leave."""


class RunFolder:
    """Paths and the record ``run.json``. Files are written beside and renamed, so a kill leaves it readable."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.yaml"
        self.record = path / "run.json"
        self.metrics = path / "metrics.jsonl"
        self.plan = path / "plan.json"
        self.checkpoints = path / "checkpoints"
        self.student = path / "student"
        self.exports = path / "exports"
        self.profile = path / "profile"
        self.evaluation = path / "evaluation"
        self.report = path / "report.json"
        self.page = path / "report.html"
        self.card = path / "MODEL_CARD.md"
        self.provenance = path / "provenance.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for the length of the block.

        Raises:
            UserError: If another process runs in this folder, it is not empty and not a run's, or something else
                stands in its place.
        """
        try:
            with disk_errors(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise UserError(
                f"{self.path} cannot be a run folder: there is a file in its place. Give another folder with --out."
            ) from error
        if not self._ours() and any(not item.name.startswith(_OWN) for item in self.path.iterdir()):
            raise UserError(
                f"{self.path} is not empty and holds no run. Give another folder with --out, or empty this one."
            )
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(
                f"{self.path} is in use by another run. Wait for it, or give another folder with --out."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def adopt(self, recipe: str) -> None:
        """Write the resolved recipe."""
        if not self.record.exists():
            write_json(self.record, {"schema": "limbeck.run/1", "stages": {}})
        if not self.recipe.exists() or self.recipe.read_text(encoding="utf-8") != recipe:
            write_text(self.recipe, recipe)

    def _ours(self) -> bool:
        """Whether a run lies here, be it without its record, which a user may have removed."""
        return self.record.exists() or (self.plan.exists() and self.checkpoints.is_dir())

    def stages(self) -> dict[str, dict[str, Any]]:
        """What ``run.json`` says of each stage: ``inputs`` (hash), ``state``, ``seconds``."""
        if not self.record.exists():
            return {}
        try:
            return dict(read_json(self.record)["stages"])
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{self.record} is damaged. Remove it; finished trainings are found again."
            ) from error

    def mark(self, stage: str, **facts: Any) -> None:
        """Write down what became of a stage."""
        stages = self.stages()
        stages[stage] = {**stages.get(stage, {}), **facts}
        write_json(self.record, {"schema": "limbeck.run/1", "stages": stages})

    def targets(self, answerer: str) -> Path:
        """Where it is written which store holds somebody's answers: the teacher's, or an assistant's."""
        return self.path / ("targets.json" if answerer == TEACHER else f"targets-{answerer}.json")

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``; after a resume the last line of a step is the one that counts."""
        with disk_errors(self.metrics), self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")


def existing(path: Path) -> RunFolder:
    """The run in a folder.

    Raises:
        UserError: If there is none.
    """
    folder = RunFolder(path)
    if not folder.record.exists():
        raise UserError(
            f"{path} is not a run folder (it has no run.json). `limbeck run RECIPE --out FOLDER` makes one."
        )
    return folder
