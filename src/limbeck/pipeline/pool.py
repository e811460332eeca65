"""Trainings side by side: one-thread processes, or this process where objects cannot travel.

A worker is ``python -m limbeck.pipeline.worker``; it reads one job a line and answers in lines of JSON. When
the pipe from its parent closes, it ends at once, so that a killed run leaves nothing behind.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from limbeck import errors
from limbeck.errors import LimbeckError, RunError
from limbeck.pipeline.events import Advanced, Event, Noted
from limbeck.recipe.plan import Execution
from limbeck.threads import environment

Line = dict[str, Any]
Pipe = TypeVar("Pipe")


class Worker:
    """One process that trains what it is told, one training after another."""

    def __init__(
        self,
        number: int,
        folder: Path,
        threads: int,
        replies: queue.Queue[tuple[int, Line]],
        *,
        profile: bool = False,
    ) -> None:
        self.number = number
        self.job: str | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "limbeck.pipeline.worker", str(folder), *(["profile"] * profile)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(threads),
        )
        reader = threading.Thread(target=self._listen, args=(replies,), daemon=True)
        reader.start()

    def start(self, job: str) -> None:
        """Give it something to do."""
        self.job = job
        _pipe(self._process.stdin).write(json.dumps({"job": job}) + "\n")
        _pipe(self._process.stdin).flush()

    def stop(self) -> None:
        """End the process, whatever it is doing; its checkpoints stay."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            _pipe(pipe).close()

    def _listen(self, replies: queue.Queue[tuple[int, Line]]) -> None:
        for line in _pipe(self._process.stdout):
            replies.put((self.number, json.loads(line)))
        replies.put((self.number, {"event": "gone", "code": self._process.wait()}))


class Pool:
    """Some workers on one run folder; use as a context manager."""

    def __init__(self, folder: Path, workers: int, execution: Execution, *, profile: bool = False) -> None:
        self._replies: queue.Queue[tuple[int, Line]] = queue.Queue()
        self._workers = [
            Worker(number, folder, execution.threads, self._replies, profile=profile)
            for number in range(workers)
        ]

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()

    def idle(self) -> list[Worker]:
        """The workers that wait for a job."""
        return [worker for worker in self._workers if worker.job is None]

    def busy(self) -> bool:
        """Whether any worker has a job."""
        return any(worker.job is not None for worker in self._workers)

    def replies(self, stage: str) -> Iterator[Event | str]:
        """Wait for one reply: events to show, and a job's name when it is done.

        Raises:
            LimbeckError: What a training raised, in this process.
            RunError: If a worker died.
        """
        number, line = self._replies.get()
        worker = self._workers[number]
        match line.pop("event"):
            case "advanced":
                yield Advanced(stage=stage, **line)
            case "noted":
                yield Noted(stage=stage, **line)
            case "done":
                worker.job = None
                yield str(line["job"])
            case "failed":
                raise _revived(line)
            case _:
                raise RunError(
                    f"The process at work on {worker.job} ended with code {line.get('code')} (perhaps out of "
                    "memory). Run the same command again; it goes on from what is kept."
                )


def _revived(line: Line) -> LimbeckError:
    kind = getattr(errors, str(line["kind"]), RunError)
    if not (isinstance(kind, type) and issubclass(kind, LimbeckError)):
        kind = RunError
    return kind(str(line["message"]))


def _pipe(stream: Pipe | None) -> Pipe:
    if stream is None:
        raise RunError("A worker process has no pipe to speak through.")
    return stream
