"""Several teachers at once: each counts as far as it knows the label, in both loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.methods import CE, KD, ConfidentTeachers, Method
from limbeck.models import Residual
from limbeck.recipe import Execution, Training
from limbeck.teachers import Ensemble, LiveTeacher
from limbeck.training import distilling, start, train
from limbeck.types import ABSENT, CLEAN, Batch, Outputs

Made = Callable[..., Any]


def naive(student: np.ndarray, members: np.ndarray, labels: list[int], temperature: float) -> np.ndarray:
    """The paper's sum, one example after another, in float64."""
    losses = []
    for row, label in enumerate(labels):
        errors = [0.0 if label == ABSENT else -log_softmax(member[row])[label] for member in members]
        shares = (1 - softmax(errors)) / (len(members) - 1) if len(members) > 1 else [1.0]
        q = log_softmax(student[row] / temperature)
        ps = [softmax(member[row] / temperature) for member in members]
        each = [float((p * (np.log(p) - q)).sum()) for p in ps]
        losses.append(float(np.dot(shares, each)) * temperature**2)
    return np.array(losses)


def answers(count: int, labels: list[int]) -> tuple[Outputs, Outputs, Batch]:
    """A student's answers, those of ``count`` members, and the batch they are about."""
    generator = torch.Generator().manual_seed(count)
    logits = torch.randn(count + 2, len(labels), 4, generator=generator, dtype=torch.float64) * 2
    taps = {f"member:{number}": logits[number + 2] for number in range(count)}
    ids = torch.arange(len(labels))
    batch = Batch(ids, torch.zeros(len(labels), 1), torch.tensor(labels), torch.full_like(ids, CLEAN))
    return Outputs(logits[0]), Outputs(logits[1], taps), batch


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [ABSENT] * 4, [2, ABSENT, 0, ABSENT]])
def test_it_is_the_papers_sum(count: int, labels: list[int]) -> None:
    student, teacher, batch = answers(count, labels)
    method = ConfidentTeachers(members=count, temperature=3)
    term = method.loss(student, teacher, batch, None)["confident-teachers"]
    members = np.stack([tap.numpy() for tap in teacher.taps.values()])
    wanted = naive(student.logits.numpy(), members, labels, 3)
    np.testing.assert_allclose((term.values * term.scale).numpy(), wanted, rtol=1e-9)


def test_one_teacher_or_equal_ones_are_kd() -> None:
    student, teacher, batch = answers(1, [0, 1, ABSENT])
    member = teacher.taps["member:0"]
    kd = KD(temperature=4).loss(student, Outputs(member), batch, None)["kd"]
    for count in (1, 3):
        same = Outputs(member, {f"member:{number}": member for number in range(count)})
        method = ConfidentTeachers(members=count, temperature=4)
        term = method.loss(student, same, batch, None)["confident-teachers"]
        torch.testing.assert_close(term.values * term.scale, kd.values * kd.scale)


def test_without_labels_it_has_the_gradient_of_kd_from_the_mean_distribution() -> None:
    student, teacher, batch = answers(3, [ABSENT] * 5)
    logits = student.logits.requires_grad_()
    members = torch.stack(list(teacher.taps.values()))
    mean = members.softmax(-1).mean(0).log()

    def gradient(method: Method, given: Outputs) -> Tensor:
        [term] = method.loss(Outputs(logits), given, batch, None).values()
        return torch.autograd.grad(term.values.sum() * term.scale, logits)[0]

    ours = gradient(ConfidentTeachers(members=3, temperature=1), teacher)
    torch.testing.assert_close(ours, gradient(KD(temperature=1), Outputs(mean)))


@pytest.fixture
def teachers() -> list[LiveTeacher]:
    made = []
    for seed in range(3):
        torch.manual_seed(seed)
        module = Residual(width=4, depth=1, stages=2).build((1, 8, 8), 6)
        made.append(LiveTeacher(module, classes=6, shape=(1, 8, 8)))
    return made


def student() -> nn.Module:
    return Residual(width=4, depth=1, stages=2).build((1, 8, 8), 6)


def test_an_ensemble_trains_a_student_and_the_own_loop_has_the_same_loss(
    teachers: list[LiveTeacher], run: Any
) -> None:
    method = ConfidentTeachers(members=3) + CE()
    ensemble = Ensemble(teachers)
    settings: dict[str, Any] = {"training": Training(steps=3, batch_examples=16), "execution": Execution()}
    state = start(student, method, ensemble, run.stream, seed=0, **settings)
    batch = run.stream.batch(0)
    with distilling(state.student.train(), ensemble, method, allow_labels=True) as own:
        expected = float(own.loss(batch).detach())
    again = start(student, method, ensemble, run.stream, seed=0, **settings)
    steps = list(train(again, run.stream, ensemble, execution=Execution()))
    assert len(steps) == 3
    assert steps[0].loss == pytest.approx(expected, rel=1e-5)
    assert set(steps[0].losses) == {"confident-teachers", "ce"}


def test_an_ensemble_is_a_teacher_for_any_method_on_logits(teachers: list[LiveTeacher], run: Any) -> None:
    settings: dict[str, Any] = {"training": Training(steps=2, batch_examples=16), "execution": Execution()}
    ensemble = Ensemble(teachers, combine="mean-logit")
    state = start(student, KD(), ensemble, run.stream, seed=0, **settings)
    assert all(np.isfinite(step.loss) for step in train(state, run.stream, ensemble, execution=Execution()))


def test_other_than_as_many_teachers_are_refused(teachers: list[LiveTeacher], run: Any) -> None:
    settings: dict[str, Any] = {"training": Training(steps=2, batch_examples=16), "execution": Execution()}
    with pytest.raises(MethodError, match=r"members is 2, and the ensemble has 3 teachers.*members=3"):
        start(student, ConfidentTeachers(), Ensemble(teachers), run.stream, seed=0, **settings)


def test_a_single_model_is_refused(teachers: list[LiveTeacher], run: Any) -> None:
    settings: dict[str, Any] = {"training": Training(steps=2, batch_examples=16), "execution": Execution()}
    with pytest.raises(MethodError, match=r"single model.*Ensemble"):
        start(student, ConfidentTeachers(), teachers[0], run.stream, seed=0, **settings)
    with (
        distilling(student(), teachers[0], ConfidentTeachers(), allow_labels=True) as own,
        pytest.raises(MethodError, match=r"single model.*Ensemble"),
    ):
        own.loss(run.stream.batch(0))
