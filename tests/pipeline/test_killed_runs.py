"""Killed at any moment, alone or with its workers, a run is completed by the same command, with the same weights."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from limbeck.teachers.store import list_stores

# a shell that starts jobs in the background has them ignore Ctrl-C, and children inherit that
COMMAND = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from limbeck.cli.main import main; main()"
)
CHECKPOINTED = "checkpoints/{}.choice0.*/checkpoint"
CHANGES = ("controls=[no-teacher]", "evaluation.robustness=false", "plan.workers=1")
SHORT = (*CHANGES, "export.formats=[]", "training.checkpoint_seconds=0.02")
LONG = (*CHANGES, "teacher.training.steps=300", "training.steps=200")
STAGES = ("check", "plan", "teacher", "label", "baseline", "distil", "evaluate", "export", "report")
WAIT_SECONDS = 120.0

Reference = tuple[Path, dict[str, str], dict[str, float]]


class Arm:
    """One run folder with a cache of its own, and the command that fills it."""

    def __init__(self, recipe: Path, base: Path, changes: tuple[str, ...]) -> None:
        self.out, self.cache = base / "run", base / "cache"
        given = [part for change in changes for part in ("--set", change)]
        self.arguments = ["run", str(recipe), "--out", str(self.out), *given]
        self.environment = {**os.environ, "LIMBECK_CACHE": str(self.cache), "OMP_NUM_THREADS": "1"}

    def start(self) -> subprocess.Popen[bytes]:
        """The command in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, *self.arguments],
            env=self.environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def finish(self) -> None:
        """The same command again, to its end."""
        with self.start() as process:
            _, said = process.communicate()
        assert process.returncode == 0, said.decode()

    def begun(self, stage: str) -> bool:
        """Whether a stage is running, or is over: some are shorter than a look at them."""
        try:
            return stage in json.loads((self.out / "run.json").read_text())["stages"]
        except FileNotFoundError:
            return False

    def there(self, pattern: str) -> bool:
        """Whether a file lies in the run folder."""
        return any(self.out.glob(pattern))

    def weights(self) -> dict[str, str]:
        """The hash of every training's weights, and of the shipped student's."""
        files = self.out.glob("checkpoints/*/result.json")
        found = {file.parent.name: json.loads(file.read_text())["weights"] for file in files}
        return {**found, "shipped": json.loads((self.out / "student/model.json").read_text())["digest"]}


def wait(process: subprocess.Popen[bytes], until: Callable[[], bool]) -> None:
    """Watch a run; returns when something is so, or when the run is over."""
    end = time.monotonic() + WAIT_SECONDS
    while process.poll() is None and not until():
        assert time.monotonic() < end, "the moment never came"
        time.sleep(0.002)


def kill(process: subprocess.Popen[bytes], *, group: bool) -> list[psutil.Process]:
    """End a run at once, if it has not ended, with its workers or without; who its workers were."""
    workers = []
    if process.poll() is None:
        workers = psutil.Process(process.pid).children()
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.communicate()
    return workers


def gone(process: psutil.Process) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def finish(limbeck: Any, monkeypatch: pytest.MonkeyPatch, in_turn: None) -> Callable[[Arm], None]:
    """Run an arm's command again, in this process."""

    def again(arm: Arm) -> None:
        monkeypatch.setenv("LIMBECK_CACHE", str(arm.cache))
        result = limbeck(*arm.arguments)
        assert result.exit_code == 0, result.stderr

    return again


def test_a_parent_killed_alone_takes_its_workers_along_and_the_run_goes_on(
    recipe: Path, tmp_path: Path, quick: Any, finish: Callable[[Arm], None]
) -> None:
    arm = Arm(recipe, tmp_path / "arm", (*SHORT, "training.checkpoint_seconds=1.0e-9"))
    process = arm.start()
    wait(process, lambda: arm.there(CHECKPOINTED.format("no-teacher")))
    workers = kill(process, group=False)
    assert process.returncode == -signal.SIGKILL
    assert len(workers) == 1
    end = time.monotonic() + 10
    while not all(map(gone, workers)) and time.monotonic() < end:
        time.sleep(0.02)
    assert all(map(gone, workers))
    finish(arm)
    assert arm.weights() == quick.weights()


@pytest.mark.parametrize(
    ("signal_", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGKILL, -signal.SIGKILL, marks=pytest.mark.long)],
)
def test_a_run_stopped_while_its_teacher_trains_goes_on(
    recipe: Path, tmp_path: Path, quick: Any, finish: Callable[[Arm], None], signal_: int, code: int
) -> None:
    arm = Arm(recipe, tmp_path / "arm", (*SHORT, "teacher.training.checkpoint_seconds=1.0e-9"))
    process = arm.start()
    wait(process, lambda: arm.there(CHECKPOINTED.format("teacher")))
    os.killpg(process.pid, signal_)
    _, said = process.communicate()
    assert process.returncode == code
    if signal_ == signal.SIGINT:
        assert said.decode().splitlines()[-1] == "interrupted; run the same command again to go on"
    assert b"Traceback" not in said
    finish(arm)
    assert arm.weights() == quick.weights()


@pytest.mark.long
def test_ctrl_c_ends_labelling_in_several_processes_and_the_rest_is_asked_later(
    recipe: Path, tmp_path: Path, limbeck: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = Arm(recipe, tmp_path / "arm", ("plan={workers: 1, label: {threads: 1}}",))
    arm.arguments = ["label", *arm.arguments[1:], "--processes", "2", "--json"]
    process = arm.start()
    wait(process, lambda: any(arm.cache.glob("targets/*/.*.claim")))
    workers = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert said.decode().splitlines()[-1] == "interrupted; run the same command again to go on"
    assert b"Traceback" not in said
    assert len(workers) >= 2
    assert all(map(gone, workers))
    monkeypatch.setenv("LIMBECK_CACHE", str(arm.cache))
    done = limbeck(*arm.arguments)
    assert done.exit_code == 0, done.stderr
    (store,) = list_stores()
    assert (store.complete, store.held) == (True, store.records)


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory, tiny: str) -> Reference:
    """The long run without a kill: its recipe, its weights, and how long each stage took."""
    base = tmp_path_factory.mktemp("reference")
    recipe = base / "tiny.yaml"
    recipe.write_text(tiny)
    arm = Arm(recipe, base, LONG)
    arm.finish()
    stages = json.loads((arm.out / "run.json").read_text())["stages"]
    return recipe, arm.weights(), {name: facts["seconds"] for name, facts in stages.items()}


@pytest.mark.long
@pytest.mark.parametrize("group", [True, False], ids=["all", "parent"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_run_killed_at_a_random_moment_of_a_stage(
    tmp_path: Path, reference: Reference, finish: Callable[[Arm], None], stage: str, group: bool
) -> None:
    recipe, wanted, seconds = reference
    chance = random.Random(f"{stage} {group}")  # noqa: S311
    arm = Arm(recipe, tmp_path, LONG)
    process = arm.start()
    wait(process, lambda: arm.begun(stage))
    time.sleep(chance.random() * seconds[stage])
    kill(process, group=group)
    finish(arm)
    assert arm.weights() == wanted


@pytest.mark.long
@pytest.mark.parametrize("job", ["teacher", "no-teacher", "student"])
def test_a_run_killed_twice_while_it_trains(tmp_path: Path, reference: Reference, job: str) -> None:
    recipe, wanted, _ = reference
    arm = Arm(recipe, tmp_path, LONG)
    for group in (True, False):
        process = arm.start()
        wait(process, lambda: arm.there(CHECKPOINTED.format(job)))
        time.sleep(0.1)
        kill(process, group=group)
    arm.finish()
    assert arm.weights() == wanted
