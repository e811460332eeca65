"""A live teacher answers in eval mode, changes nothing, and is no part of the student."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from limbeck.errors import TeacherError
from limbeck.models import state_digest
from limbeck.teachers import LiveTeacher, as_teacher
from limbeck.types import Batch, Teacher


def _batch(count=6):
    inputs = torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    return Batch(torch.arange(count), inputs, torch.full((count,), -1), torch.full((count,), -1))


class Student(nn.Module):
    """Keeps its teacher as an attribute, as people do."""

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)
        self.teacher = teacher


@pytest.mark.parametrize("own", [True, False], ids=["copied", "borrowed"])
def test_nothing_of_the_teacher_changes_while_a_student_trains_and_calls_train_on_it(model, own):
    expected = copy.deepcopy(model).eval()(_batch().inputs)
    before = state_digest(model)
    teacher = LiveTeacher(model, classes=3, copy=own)
    student = Student(teacher)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    for _ in range(3):
        model.train()
        student.train()
        logits = teacher(_batch()).logits
        ((student.layer(_batch().inputs.flatten(1)) - logits) ** 2).mean().backward()
        optimizer.step()
        torch.testing.assert_close(logits, expected, rtol=0, atol=0)
    assert state_digest(model) == before


def test_a_copy_does_not_follow_what_happens_to_the_original(model):
    teacher = LiveTeacher(model, classes=3)
    before = teacher(_batch()).logits
    model[5].weight.data.zero_()
    assert torch.equal(teacher(_batch()).logits, before)


def test_the_teacher_is_never_in_the_students_state(model):
    student = Student(LiveTeacher(model, classes=3))
    assert sorted(student.state_dict()) == ["layer.bias", "layer.weight"]
    assert len(list(student.parameters())) == 2
    assert [type(part) for part in student.modules()] == [Student, nn.Linear]


@pytest.mark.parametrize("own", [True, False], ids=["copied", "borrowed"])
def test_answers_have_no_gradient_and_leave_the_callers_gradients_on(own, model):
    logits = LiveTeacher(model, classes=3, copy=own)(_batch()).logits
    assert not logits.requires_grad
    assert torch.is_grad_enabled()


def test_asking_does_not_touch_the_random_state(model):
    teacher = LiveTeacher(model, classes=3, shape=(1, 8, 8))
    before = torch.get_rng_state()
    teacher(_batch())
    _ = teacher.digest
    assert torch.equal(torch.get_rng_state(), before)


def test_the_execution_is_a_block_around_each_question_and_answers_are_fp32(model):
    def execution():
        return torch.autocast("cpu", torch.bfloat16)

    plain = LiveTeacher(model, classes=3)(_batch()).logits
    halved = LiveTeacher(model, classes=3, execution=execution)(_batch()).logits
    assert halved.dtype == torch.float32
    assert not torch.equal(plain, halved)
    torch.testing.assert_close(plain, halved, rtol=0.05, atol=0.05)


def test_channels_last_changes_the_order_in_memory_only(model):
    teacher = LiveTeacher(model, classes=3, layout=torch.channels_last)
    torch.testing.assert_close(teacher(_batch()).logits, LiveTeacher(model, classes=3)(_batch()).logits)
    assert model[0].weight.is_contiguous()


def test_an_opaque_callable_must_name_its_version():
    def answer(inputs: torch.Tensor) -> torch.Tensor:
        return inputs.flatten(1)[:, :3]

    with pytest.raises(TeacherError, match=r"answer is a callable .* Give version='1'"):
        LiveTeacher(answer, classes=3)
    one, two = (LiveTeacher(answer, classes=3, shape=(1, 8, 8), version=version) for version in "12")
    assert one.digest != two.digest
    assert torch.equal(one(_batch()).logits, answer(_batch().inputs))


def test_whatever_is_given_becomes_a_teacher(model):
    live = LiveTeacher(model, classes=3)
    assert as_teacher(live) is live
    assert isinstance(live, Teacher)
    assert as_teacher(model).offer.classes == 3
    with pytest.raises(TeacherError, match="cannot be told"):
        as_teacher(nn.Conv2d(1, 1, 1))
    with pytest.raises(TeacherError, match="is a float"):
        as_teacher(1.5)


def test_a_module_that_cannot_be_copied_names_the_cure(model):
    weight = model[5].weight
    model[5].register_buffer("derived", weight * 2)
    with pytest.raises(TeacherError, match="copy=False"):
        LiveTeacher(model, classes=3)


def test_inner_layers_are_read_on_demand_and_the_module_is_shared(model):
    teacher = LiveTeacher(model, classes=3, shape=(1, 8, 8))
    tapped = teacher.offer.tapping(["0", "5@in"])
    answers = tapped(_batch())
    whole = copy.deepcopy(model).eval()
    assert torch.equal(answers.taps["0"], whole[0](_batch().inputs))
    assert torch.equal(whole[5](answers.taps["5@in"]), answers.logits)
    assert not any(tap.requires_grad for tap in answers.taps.values())
    assert tapped.offer.taps == ("0", "5@in")
    assert tapped.offer.module is teacher.offer.module
    assert tapped.digest == teacher.digest
    assert teacher(_batch()).taps == {}


def test_a_faster_form_answers_where_no_tap_is_read_and_changes_nothing_else(model):
    form = copy.deepcopy(model).eval()
    form[-1].bias.data += 5
    plain, faster = (LiveTeacher(model, classes=3, shape=(1, 8, 8), form=given) for given in (None, form))
    batch = _batch()
    torch.testing.assert_close(faster(batch).logits, plain(batch).logits + 5)
    assert faster.digest == plain.digest
    tapping = faster.offer.tapping(["0"])
    assert torch.equal(tapping(batch).logits, plain(batch).logits)
    assert torch.equal(tapping(batch).taps["0"], plain.offer.tapping(["0"])(batch).taps["0"])
    assert any(isinstance(part, nn.BatchNorm2d) for part in faster.offer.module.modules())
