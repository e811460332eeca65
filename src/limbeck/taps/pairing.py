"""Which layer of the teacher a layer of the student is compared with, where nobody says so."""

from __future__ import annotations

import math
from collections.abc import Sequence

from limbeck.taps.places import shape_at, stages
from limbeck.taps.tracing import Layer

Pair = tuple[str, str]


def paired_stages(student: Sequence[Layer], teacher: Sequence[Layer]) -> list[Pair]:
    """Each stage of the student with one of the teacher's, in order, the last with the last.

    Feature maps are paired by resolution, where one of the teacher's is as large; otherwise, and for tokens and
    rows, a stage is paired with the one at the same relative depth.

    Args:
        student: What :func:`~limbeck.taps.tracing.layers` found in the student.
        teacher: And in the teacher.

    Returns:
        Places of both sides, as :func:`~limbeck.taps.reading.tap` takes them.

    Raises:
        ModelError: If either has no stages.
    """
    ours, theirs = stages(student, owner="the student"), stages(teacher, owner="the teacher")
    by_size = {_size(teacher, place): place for place in theirs}
    found = []
    for place, deep in by_depth(ours, theirs):
        size = _size(student, place)
        found.append((place, deep if place == ours[-1] or size is None else by_size.get(size, deep)))
    return found


def by_depth(student: Sequence[str], teacher: Sequence[str]) -> list[Pair]:
    """Each of the student's places with the teacher's at the same relative depth, the last with the last."""
    return [
        (place, teacher[math.ceil(number * len(teacher) / len(student)) - 1])
        for number, place in enumerate(student, 1)
    ]


def _size(layers: Sequence[Layer], place: str) -> tuple[int, int] | None:
    shape = shape_at(layers, place)
    return (shape[2], shape[3]) if len(shape) == 4 else None
