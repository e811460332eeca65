"""Teachers that do not fit are refused, with names and a cure."""

from __future__ import annotations

import pytest
import torch

from limbeck.errors import TeacherError
from limbeck.teachers import LiveTeacher, check_classes
from limbeck.teachers.acceptance import check_finite, check_logits
from limbeck.types import Batch


def _batch(inputs: torch.Tensor) -> Batch:
    count = len(inputs)
    return Batch(torch.arange(count), inputs, torch.full((count,), -1), torch.full((count,), -1))


def test_another_class_count_is_refused_naming_both(model):
    teacher = LiveTeacher(model, classes=3)
    check_classes(teacher, 3)
    with pytest.raises(TeacherError, match="answers for 3 classes, but the data has 10"):
        check_classes(teacher, 10)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (torch.zeros(2, 4), "answers for 4 classes, expected 3.*classes=4"),
        (torch.zeros(3), r"shape \[3\] for 2 examples"),
        (torch.zeros(1, 3), r"shape \[1, 3\] for 2 examples"),
        ({"logits": torch.zeros(2, 3)}, "answers with dict"),
    ],
)
def test_an_answer_must_be_logits_of_the_examples_and_classes(answer, words):
    with pytest.raises(TeacherError, match=words):
        check_logits(answer, examples=2, classes=3, owner="The teacher")


def test_answers_are_checked_whenever_a_teacher_is_asked(model):
    with pytest.raises(TeacherError, match="Sequential answers for 3 classes, expected 5"):
        LiveTeacher(model, classes=5)(_batch(torch.zeros(2, 1, 8, 8)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_answers_that_are_not_finite_name_the_samples(value):
    logits = torch.zeros(9, 3)
    logits[1:8, 2] = value
    with pytest.raises(TeacherError, match=r"sample 11, 12, 13, 14, 15 and 2 more. Do this"):
        check_finite(logits, torch.arange(10, 19), owner="Answers", cure="Do this.")
