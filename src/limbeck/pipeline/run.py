"""A whole run, from a recipe to a report, and what is there when it is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from limbeck.errors import GateError, UserError
from limbeck.files import read_json
from limbeck.models.object import ObjectModel
from limbeck.pipeline.answering import untrained
from limbeck.pipeline.context import Context
from limbeck.pipeline.events import Event
from limbeck.pipeline.folder import RunFolder, existing
from limbeck.pipeline.objects import Factory, Objects
from limbeck.pipeline.serving import Prediction, Served, served
from limbeck.pipeline.stages import check_stage, run_stages
from limbeck.pipeline.students import trained
from limbeck.recipe import Recipe, dump
from limbeck.reports import Report


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: RunFolder
    build: Factory | None = None
    """Makes an untrained student, where it exists only in Python."""

    @property
    def report(self) -> Report:
        """The same numbers as ``report.json``.

        Raises:
            UserError: If the run is not finished.
        """
        if not self.folder.report.exists():
            raise UserError(f"{self.folder.path} is not finished: it has no report.json. Run it to its end.")
        return Report.model_validate(read_json(self.folder.report))

    @cached_property
    def student(self) -> Served:
        """The shipped student: raw samples in, answers out."""
        return served(self.folder.path, build=self.build or _grown(self.folder))

    def predict(self, raw: Any) -> list[Prediction]:
        """The shipped student's answers for raw samples; see :meth:`Served.predict`."""
        return self.student.predict(raw)


def events(
    recipe: Recipe,
    out: Path,
    *,
    objects: Objects | None = None,
    until: str | None = None,
    profile: bool = False,
    processes: int = 1,
) -> Iterator[Event]:
    """Run a recipe in a folder, yielding what happens; go on where an earlier attempt stopped.

    Args:
        recipe: What to do.
        out: The run folder.
        objects: Python objects that take the place of what the recipe describes.
        until: The last stage to run; all by default.
        profile: Leave in ``profile/`` where the time of each training went; no result is changed.
        processes: How many processes ask the teacher at once, each in one thread if there are several.

    Raises:
        LimbeckError: With a cure, before time is spent where that is possible.
        GateError: If the run is complete and its result is below the recipe's gate.
    """
    context = Context(recipe, RunFolder(out), objects, profile=profile, processes=processes)
    context.refuse_early()
    if until is not None:
        check_stage(until)
    with context.folder.locked():
        context.resolve()
        context.folder.adopt(dump(context.recipe))
        yield from run_stages(context, until=until)
    if until is None:
        _gate(context)


def opened(out: Path, *, build: Factory | None = None) -> Run:
    """The finished run in a folder.

    Args:
        out: The run folder.
        build: Makes an untrained student, where it exists only in Python.

    Raises:
        UserError: If there is none.
    """
    return Run(existing(out), build)


def _grown(folder: RunFolder) -> Factory | None:
    """Builds what ships where a method added to the student: from the recipe, its data and its teacher."""
    context = Context.reopened(folder)
    if not context.recipe.method.grows or isinstance(context.recipe.student.model, ObjectModel):
        return None
    return lambda: untrained(context, trained(context, "student").best)


def _gate(context: Context) -> None:
    wanted = context.recipe.gate.retention
    if wanted is None:
        return
    found = Run(context.folder).report.retention
    if found.low is None or found.low < wanted:
        low = "unknown" if found.low is None else f"{found.low:.4f}"
        raise GateError(
            f"gate.retention asks for at least {wanted:g}; the interval's lower end is {low}. The run is complete: "
            f"see {context.folder.page}. Lower the gate, or give the student more steps, data or width."
        )
