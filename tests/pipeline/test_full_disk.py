"""A full disk is one clear message, and the same command goes on when there is room."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

MEGABYTES = 3
BLOCK = 4096


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here; root can")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path, *, leave: int) -> None:
    """Leave so many bytes free."""
    size = shutil.disk_usage(disk).free - leave
    with (disk / "filler").open("wb") as file:
        file.write(bytes(max(0, size)))


def after(until: str | None, full: str, *, long: bool = True) -> Any:
    """A case: which stages are done before the disk is full, and what lies on it."""
    return pytest.param(until, full, marks=[pytest.mark.long] if long else [], id=f"{until}-{full}")


@pytest.mark.parametrize(
    ("until", "full"),
    [
        after(None, "run"),
        after("plan", "run", long=False),
        after("teacher", "run"),
        after("label", "run"),
        after("baseline", "run"),
        after("evaluate", "run"),
        after(None, "cache"),
        after("plan", "cache", long=False),
        after("teacher", "cache", long=False),
    ],
)
def test_a_run_on_a_full_disk_stops_clearly_and_goes_on(
    limbeck: Any, again: Any, disk: Path, monkeypatch: pytest.MonkeyPatch, until: str | None, full: str
) -> None:
    wanted = again.weights()
    out, cache = (
        (disk / "run", again.out.parent / "other") if full == "run" else (again.out.parent / "new", disk)
    )
    monkeypatch.setenv("LIMBECK_CACHE", str(cache))
    command = ["run", str(again.recipe), "--out", str(out)]
    if until is not None:
        done = limbeck(*command, "--until", until)
        assert done.exit_code == 0, done.stderr
    before = {file: file.read_bytes() for file in out.rglob("*.json")} if out.exists() else {}
    fill(disk, leave=0)
    stopped = limbeck(*command)
    assert stopped.exit_code == 2, stopped.stderr
    last = stopped.stderr.splitlines()[-1]
    assert str(disk) in last
    assert "free some space" in last.lower()
    assert "Traceback" not in stopped.stderr
    whole = {file: content for file, content in before.items() if file.name not in ("run.json", "check.json")}
    assert {file: file.read_bytes() for file in whole} == whole
    (disk / "filler").unlink()
    resumed = limbeck(*command)
    assert resumed.exit_code == 0, resumed.stderr
    files = out.glob("checkpoints/*/result.json")
    assert {file.parent.name for file in files} == set(wanted) - {"shipped"}
    assert type(again)(again.recipe, out, cache).weights() == wanted
