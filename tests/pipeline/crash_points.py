"""A program for test_crash_points: runs a recipe again and again, killed at one renaming of a file after another.

Each attempt is a fork of one process that has imported everything, with a run folder and a cache of its own. It
kills itself (SIGKILL) just before its Nth renaming; a second fork runs the same command to the end.

Arguments: recipe, folder, and which share of the moments to try, as in 1/7 (the first of every seven).
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from limbeck.pipeline import students
from limbeck.pipeline.run import events
from limbeck.recipe import load

importlib.import_module("torch._dynamo")  # the optimizer's first step would import it in every fork
students._side_by_side = students._in_turn

FILES = "checkpoints/*/result.json"


def forked(work: Callable[[], None]) -> int:
    """Do something in a fork; its exit code, negative for a signal."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def attempt(recipe: Path, arm: Path, *, moment: int | None) -> None:
    """Run the recipe in a folder; killed before renaming number ``moment``. Counts the renamings."""
    os.environ["LIMBECK_CACHE"] = str(arm / "cache")
    count = 0

    def counted(rename: Any) -> Any:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            return rename(*arguments, **options)

        return wrapped

    os.replace, os.rename = counted(os.replace), counted(os.rename)
    for _ in events(load(recipe), arm / "run"):
        pass
    (arm / "count").write_text(str(count))


def outcome(arm: Path) -> dict[str, str]:
    """The hash of every training's weights, and of the shipped student's."""
    results = {
        file.parent.name: json.loads(file.read_text())["weights"] for file in (arm / "run").glob(FILES)
    }
    shipped = json.loads((arm / "run/student/model.json").read_text())["digest"]
    return {**results, "shipped": shipped}


def main(recipe: Path, folder: Path, first: int, stride: int) -> None:
    """Print how many moments there are, and a line of JSON for every one that was tried."""
    whole = folder / "whole"
    assert forked(lambda: attempt(recipe, whole, moment=None)) == 0
    wanted, moments = outcome(whole), int((whole / "count").read_text())
    print(json.dumps({"moments": moments, "trainings": len(wanted)}), flush=True)
    for moment in range(first, moments, stride):
        arm = folder / str(moment)
        killed = forked(lambda: attempt(recipe, arm, moment=moment))  # noqa: B023
        resumed = forked(lambda: attempt(recipe, arm, moment=None))  # noqa: B023
        equal = resumed == 0 and outcome(arm) == wanted
        print(
            json.dumps({"moment": moment, "killed": killed, "resumed": resumed, "equal": equal}), flush=True
        )


if __name__ == "__main__":
    start, every = sys.argv[3].split("/")
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(start), int(every))
