"""Finished work that other runs can take: folders in the user's cache, named by the hash of their inputs."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from limbeck.files import cache_home, disk_errors


def fetch(kind: str, key: str, place: Path) -> bool:
    """Copy what an earlier run finished to ``place``; False where nobody has.

    Args:
        kind: What sort of work it is (``fits``).
        key: The hash of its inputs.
        place: The folder it shall lie in; replaced.
    """
    found = cache_home() / kind / key
    if not (found / "result.json").exists():
        return False
    with _copy(found, place) as beside:
        shutil.rmtree(place, ignore_errors=True)
        beside.rename(place)
    return True


def keep(kind: str, key: str, place: Path) -> None:
    """Copy a finished folder into the cache; who comes second leaves the first one's as it is."""
    goal = cache_home() / kind / key
    if goal.exists():
        return
    with _copy(place, goal) as beside:
        try:
            beside.rename(goal)
        except OSError:
            if not goal.exists():
                raise


@contextmanager
def _copy(source: Path, goal: Path) -> Iterator[Path]:
    """A copy of a folder's files beside the goal, for the block to put in its place."""
    beside = goal.with_name(f".{goal.name}.{secrets.token_hex(4)}")
    with disk_errors(goal):
        try:
            beside.mkdir(parents=True)
            for file in source.iterdir():
                if not file.name.startswith("."):  # what a killed process left
                    shutil.copyfile(file, beside / file.name)
            yield beside
        finally:
            shutil.rmtree(beside, ignore_errors=True)
