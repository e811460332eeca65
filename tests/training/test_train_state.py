from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn

from limbeck.errors import DataError, MethodError, ModelError, RunError, TeacherError
from limbeck.methods.ce import CE
from limbeck.methods.kd import KD


def numbers(module: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_initial_weights_depend_on_the_seed_alone(bench) -> None:
    first = bench.start(bench.mlp, bench.teacher, bench.batches(), seed=4)
    torch.rand(10)
    other_way = bench.start(bench.mlp, None, bench.batches(size=5), method=CE(), seed=4, steps=3)
    assert torch.equal(numbers(first.student), numbers(other_way.student))
    another = bench.start(bench.mlp, bench.teacher, bench.batches(), seed=5)
    assert not torch.equal(numbers(first.student), numbers(another.student))


def test_initial_weights_are_those_of_torchs_own_seed(bench) -> None:
    state = bench.start(bench.mlp, bench.teacher, bench.batches(), seed=4)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        assert torch.equal(numbers(state.student), numbers(bench.mlp()))


def test_starting_leaves_the_callers_random_numbers_and_the_students_statistics(bench) -> None:
    before = torch.get_rng_state()
    state = bench.start(bench.cnn, bench.image_teacher, bench.batches(images=True))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(state.student[1].running_mean, torch.zeros(4))
    assert all(part.training for part in state.student.modules())


def test_a_teacher_of_other_classes_is_refused(bench) -> None:
    teacher = bench.live(nn.Linear(6, 5), classes=5)
    with pytest.raises(TeacherError, match=r"offers 5 classes, the student 3.*same classes"):
        bench.start(bench.mlp, teacher, bench.batches())


def test_a_teacher_that_answers_otherwise_than_it_offers_is_refused(bench) -> None:
    with pytest.raises(TeacherError, match="answers for 5 classes, the student 3"):
        bench.start(bench.mlp, bench.live(nn.Linear(6, 5)), bench.batches())


def test_a_student_with_too_few_classes_is_refused(bench) -> None:
    with pytest.raises(ModelError, match="answers for 2 classes, and the data has the label 2"):
        bench.start(lambda: nn.Linear(6, 2), None, bench.batches(size=40), method=CE())


@pytest.mark.parametrize(
    ("student", "message"),
    [
        (lambda: nn.Unflatten(1, (2, 3)), r"shape \[12, 2, 3\], expected \[batch, classes\]"),
        (lambda: nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Flatten(0, 1)), r"\[24, 3\] for 12 examples"),
        (lambda: nn.LSTM(6, 3), "answers with tuple, expected one tensor"),
        (lambda: nn.Identity(), "requires_grad"),
    ],
)
def test_a_student_that_cannot_be_trained_is_refused(bench, student, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        bench.start(student, None, bench.batches(), method=CE())


def test_inputs_that_are_not_finite_are_refused(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = bench.batches()
    broken = stream.batch(0)
    broken.inputs[3, 1] = torch.inf
    monkeypatch.setattr(stream, "batch", lambda number: broken)
    with pytest.raises(DataError, match="infinite or not a number"):
        bench.start(bench.mlp, None, stream, method=CE())


def test_labels_are_demanded_only_by_a_method_that_has_nothing_else(bench) -> None:
    stream = bench.batches(absent=40)
    with pytest.raises(MethodError, match=r"none of the first 6 batches.*labelled_share"):
        bench.start(bench.mlp, None, stream, method=CE())
    bench.start(bench.mlp, bench.teacher, stream, method=KD() + CE())


def test_accumulation_warns_of_batch_statistics_and_of_nothing_else(bench) -> None:
    with pytest.warns(UserWarning, match="those of 4 examples, not of 12"):
        bench.start(bench.cnn, bench.image_teacher, bench.batches(images=True), accumulation=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bench.start(bench.cnn, bench.image_teacher, bench.batches(images=True))
        bench.start(bench.mlp, bench.teacher, bench.batches(), accumulation=3)


@pytest.mark.parametrize("change", [{"seed": 1}, {"method": CE()}, {"clip": 1.0}])
def test_a_state_of_another_training_is_refused(bench, change) -> None:
    stream, teacher = bench.batches(), bench.teacher
    saved = bench.start(bench.mlp, teacher, stream).state_dict()
    other = bench.start(bench.mlp, teacher, stream, **change)
    with pytest.raises(RunError, match="another training"):
        other.load_state_dict(saved)


def test_connectors_are_trained_and_saved_along(bench) -> None:
    class Connected(KD):
        def init(self, traced):
            return nn.Linear(traced.student.logits.shape[1], traced.teacher.logits.shape[1])

        def loss(self, student, teacher, batch, state):
            moved = copy.copy(student)
            object.__setattr__(moved, "dense", state(student.logits))
            return super().loss(moved, teacher, batch, state)

    stream, teacher = bench.batches(), bench.teacher
    state = bench.start(bench.mlp, teacher, stream, method=Connected())
    before = numbers(state.connectors)
    bench.run(state, stream, teacher, steps=2)
    assert not torch.equal(before, numbers(state.connectors))
    again = bench.start(bench.mlp, teacher, stream, method=Connected())
    again.load_state_dict(state.state_dict())
    assert torch.equal(numbers(again.connectors), numbers(state.connectors))
