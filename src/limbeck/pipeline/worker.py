"""The process behind :mod:`limbeck.pipeline.pool`: reads jobs, trains, answers in JSON lines."""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.pipeline.context import Context
from limbeck.pipeline.events import Advanced, Event, Noted
from limbeck.pipeline.fit import fit
from limbeck.pipeline.folder import existing
from limbeck.pipeline.label import part
from limbeck.pipeline.label_processes import WORK
from limbeck.recipe import Asking


def main(folder: Path, *, profile: bool) -> None:
    """Answer jobs until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends us
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a user's code prints must not stand between the answers
    jobs = _incoming()
    context = Context.reopened(existing(folder), profile=profile)
    while True:
        job = jobs.get()
        try:
            for event in _asking(context, job) if job.startswith(WORK) else fit(context, job):
                kind = {Advanced: "advanced", Noted: "noted"}.get(type(event))
                if kind is not None:
                    line = dataclasses.asdict(event)
                    line.pop("stage")
                    answers.write(json.dumps({"event": kind, **line}) + "\n")
            answers.write(json.dumps({"event": "done", "job": job}) + "\n")
        except LimbeckError as error:
            failed = {"event": "failed", "kind": type(error).__name__, "message": str(error)}
            answers.write(json.dumps(failed) + "\n")
        except Exception as error:  # whatever breaks here must reach the parent, which decides
            traceback.print_exc()
            failed = {
                "event": "failed",
                "kind": "RunError",
                "message": f"{job}: {type(error).__name__}: {error}",
            }
            answers.write(json.dumps(failed) + "\n")


def _asking(context: Context, job: str) -> Iterator[Event]:
    """Ask the teacher beside other processes; ``done`` counts what this one asked."""
    given = json.loads(job.removeprefix(WORK))
    for step in part(context, given["answerer"], Asking.model_validate(given["asking"])):
        yield Advanced("label", str(given["number"]), step.asked, step.total)


def _incoming() -> queue.Queue[str]:
    """Jobs as they come in; the process ends the moment its parent is gone."""
    jobs: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            jobs.put(json.loads(line)["job"])
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return jobs


if __name__ == "__main__":
    main(Path(sys.argv[1]), profile="profile" in sys.argv[2:])
