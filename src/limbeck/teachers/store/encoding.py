"""From what a teacher has just said to the bytes that are kept, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from limbeck.errors import TeacherError
from limbeck.teachers.acceptance import check_finite, check_logits
from limbeck.teachers.store.kept_error import KeptError, joined, kept_error
from limbeck.teachers.store.key import StoreKey
from limbeck.teachers.store.packing import Records
from limbeck.teachers.store.text import written
from limbeck.types import CLEAN, Outputs, Teacher


def views_of(key: StoreKey) -> range:
    """The views that are asked about."""
    return range(CLEAN, CLEAN + 1) if key.view == "clean" else range(key.view.views)


def tapping(teacher: Teacher, key: StoreKey) -> Teacher:
    """The teacher with the taps that a store keeps.

    Raises:
        TeacherError: If its inner layers cannot be read.
    """
    names = key.keep.names
    if set(names) == set(teacher.offer.taps) or not names:
        return teacher
    if teacher.offer.tapping is None:
        raise TeacherError(
            f"The store keeps the teacher's {', '.join(names)}, and this teacher offers "
            f"{', '.join(teacher.offer.taps) or 'its answers'} only. Give the module itself, or keep no taps."
        )
    return teacher.offer.tapping(names)


def accepted(outputs: Outputs, ids: Int[Tensor, " batch"], key: StoreKey) -> Outputs:
    """An answer as it can be kept: float32 on the CPU, finite, of the right shapes, with the store's taps alone.

    Raises:
        TeacherError: If it is not.
    """
    cure = "Check its weights and its preprocessing."
    text = key.keep.answers.kind == "text"
    kept = _texts(outputs, ids) if text else Outputs(_logits(outputs, ids, key, cure))
    taps = {}
    for tap in key.keep.taps:
        features = outputs.taps[tap.name].float().cpu()
        if tuple(features.shape) != (len(ids), *tap.shape):
            raise TeacherError(
                f"The teacher's {tap.name} has the shape {list(features.shape)}, expected "
                f"{[len(ids), *tap.shape]}. Make the key again for this teacher and these inputs."
            )
        check_finite(features.flatten(1), ids, owner=f"The teacher's {tap.name}", cure=cure)
        taps[tap.name] = features
    return replace(kept, taps=taps)


def _logits(outputs: Outputs, ids: Tensor, key: StoreKey, cure: str) -> Tensor:
    logits = outputs.logits.float().cpu()
    check_logits(logits, examples=len(ids), classes=key.classes, owner="The teacher")
    check_finite(logits, ids, owner="The teacher's answers", cure=cure)
    return logits


def _texts(outputs: Outputs, ids: Tensor) -> Outputs:
    texts = written(outputs)
    if len(texts) != len(ids):
        raise TeacherError(
            f"The teacher answers with {len(texts)} texts for {len(ids)} examples, expected one each. Wrap it in a "
            "callable that returns one text for each example."
        )
    return Outputs(None, text=texts)


def encoded(
    key: StoreKey, answers: Sequence[Outputs], ids: Int[Tensor, " batch"]
) -> tuple[Records, KeptError]:
    """The records of some samples, ``[samples, views]``, and what keeping them costs.

    Args:
        key: What is kept.
        answers: What the teacher said in each view, as :func:`accepted` leaves it.
        ids: Of the samples.

    Raises:
        TeacherError: If the number format cannot hold a number.
    """
    errors, each = [], []
    with torch.no_grad():
        for view, outputs in zip(views_of(key), answers, strict=True):
            records = key.keep.encode(outputs, ids, view)
            errors.append(kept_error(key.keep, outputs, key.keep.decode(records, key.classes)))
            each.append(records)
    return np.stack(each, 1), joined(errors)
