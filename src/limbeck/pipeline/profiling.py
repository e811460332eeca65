"""Where a training's time went, and a trace of a few of its steps, left in ``profile/``; no result is changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import torch
from torch.profiler import ProfilerActivity, profile

from limbeck.files import read_json, write_json, write_with
from limbeck.pipeline.folder import RunFolder
from limbeck.training import Step
from limbeck.training.phases import Clock

WARM_UP_STEPS: Final = 5
TRACED_STEPS: Final = 3


class Profiled:
    """The steps of one training, timed; three of them, after at least five to warm up, are traced instead.

    Args:
        place: The folder of profiles.
        job: What is trained.
        device: Where.
        steps: Those that are left; where they are few, fewer warm up and fewer are traced.
        evaluate_every_steps: When it is validated, which shall not fall between the traced steps.
    """

    def __init__(
        self, place: Path, job: str, device: torch.device, *, steps: range, evaluate_every_steps: int
    ) -> None:
        self.clock = Clock(device)
        self._place, self._job = place, job
        self._activities = [ProfilerActivity.CPU]
        self._activities += [ProfilerActivity.CUDA] if device.type == "cuda" else []
        self._traced = min(TRACED_STEPS, len(steps))
        self._warm = min(WARM_UP_STEPS, len(steps) - self._traced)
        while self._warm + self._traced < len(steps) and any(
            step % evaluate_every_steps == 0 for step in steps[self._warm :][: self._traced - 1]
        ):
            self._warm += 1
        self._timed = 0

    def steps(self, training: Iterator[Step]) -> Iterator[Step]:
        """The same steps; when they are over, the profile lies in its place."""
        self.clock.start()
        yield from self._counted(islice(training, self._warm))
        self.clock.stop()
        yield from self._trace(training)
        self.clock.start()
        yield from self._counted(training)
        self.clock.stop()
        self._write()

    def _counted(self, training: Iterator[Step]) -> Iterator[Step]:
        for step in training:
            self._timed += 1
            yield step

    def _trace(self, training: Iterator[Step]) -> Iterator[Step]:
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler prints that it starts and stops
        found = profile(activities=self._activities)
        found.start()
        try:
            for number, step in enumerate(islice(training, self._traced), start=1):
                if number < self._traced:
                    yield step
        finally:
            found.stop()
        goal = self._place / f"{self._job}.trace.json.gz"
        write_with(goal, lambda beside: found.export_chrome_trace(str(beside)))
        if self._traced:
            yield step

    def _write(self) -> None:
        seconds = self.clock.seconds
        record = {
            "job": self._job,
            "steps": self._timed,
            "seconds": round(sum(seconds.values()), 6),
            "parts": {name: round(value, 6) for name, value in seconds.items()},
        }
        write_json(self._place / f"{self._job}.json", record)


def profiles(folder: RunFolder) -> list[dict[str, Any]]:
    """What :class:`Profiled` wrote, the training that took longest first."""
    found = [read_json(file) for file in folder.profile.glob("*.json")]
    return sorted(found, key=lambda record: -record["seconds"])
