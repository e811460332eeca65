"""A teacher asked about made inputs: what its BatchNorm layers say, and that nothing happens to it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from limbeck.errors import TeacherError
from limbeck.losses.naturalness import statistics_gap
from limbeck.recipe.plan import Execution
from limbeck.teachers import LiveTeacher
from limbeck.training.remembered import Remembered, remembered


def ready(teacher: nn.Module, **changes: object) -> Remembered:
    return remembered(teacher, classes=3, execution=Execution(**changes))


def with_the_statistics_of(inputs: Tensor, layers: nn.Sequential) -> nn.Sequential:
    """Give every BatchNorm layer exactly the statistics of what it is given in eval mode."""
    layers.eval()
    for number, layer in enumerate(layers):
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            with torch.no_grad():
                given = layers[:number](inputs).transpose(0, 1).flatten(1)
            layer.running_mean.copy_(given.mean(1))
            layer.running_var.copy_(given.var(1))
    return layers


def test_the_gaps_are_those_of_each_layer_in_eval_mode(image_net: Callable[[], nn.Sequential]) -> None:
    teacher, inputs = image_net().train(), torch.randn(6, 2, 6, 6)
    logits, gaps = ready(teacher).ask(inputs)
    plain = teacher.eval()
    for gap, place in zip(gaps, (1, 4), strict=True):
        expected = statistics_gap(plain[:place](inputs), plain[place].running_mean, plain[place].running_var)
        torch.testing.assert_close(gap, expected.detach())
    torch.testing.assert_close(logits, plain(inputs).detach())


def test_no_gap_is_left_for_inputs_with_the_very_statistics(image_net: Callable[[], nn.Sequential]) -> None:
    inputs = torch.randn(20, 2, 6, 6)
    teacher = with_the_statistics_of(inputs, image_net())
    _, gaps = ready(teacher).ask(inputs)
    assert gaps.max() < 1e-5
    _, others = ready(teacher).ask(inputs * 1.1)
    assert others.min() > 1e-2


def test_gradients_reach_the_inputs_through_logits_and_gaps(image_net: Callable[[], nn.Sequential]) -> None:
    inputs = torch.randn(6, 2, 6, 6, requires_grad=True)
    teacher = ready(image_net())
    with torch.no_grad(), teacher.computing():
        logits, gaps = teacher.ask(inputs)
        for part in (logits.sum(), *gaps):
            (gradient,) = torch.autograd.grad(part, inputs, retain_graph=True)
            assert gradient.abs().max() > 0


@pytest.mark.parametrize(
    "changes", [{"layout": "channels_last"}, {"precision": "bf16", "layout": "channels_last"}], ids=str
)
def test_other_layouts_and_formats_give_nearly_the_same(
    image_net: Callable[[], nn.Sequential], changes: dict[str, object]
) -> None:
    inputs, teacher = torch.randn(6, 2, 6, 6), image_net()
    for found, expected in zip(
        ready(teacher, **changes).ask(inputs), ready(teacher).ask(inputs), strict=True
    ):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)


def test_a_teacher_that_offers_its_module_will_do(image_net: Callable[[], nn.Sequential]) -> None:
    module, inputs = image_net(), torch.randn(4, 2, 6, 6)
    for found, expected in zip(
        ready(LiveTeacher(module, classes=3)).ask(inputs), ready(module).ask(inputs), strict=True
    ):
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "teacher",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(72, 3)),
        nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False), nn.Flatten(), nn.Linear(72, 3)),
        nn.Sequential(nn.GroupNorm(1, 2), nn.Flatten(), nn.Linear(72, 3)),
    ],
    ids=["no normalisation", "no statistics", "another normalisation"],
)
def test_a_teacher_that_remembers_nothing_is_refused_with_the_cure(teacher: nn.Module) -> None:
    with pytest.raises(TeacherError, match=r"Sequential has no BatchNorm.*unlabelled"):
        ready(teacher)


def test_a_teacher_without_its_module_is_refused() -> None:
    opaque = LiveTeacher(lambda inputs: inputs.flatten(1)[:, :3], classes=3, version="1")
    with pytest.raises(TeacherError, match="Give the module"):
        remembered(opaque, classes=3, execution=Execution())


def test_a_teacher_of_other_classes_is_refused(image_net: Callable[[], nn.Sequential]) -> None:
    with pytest.raises(TeacherError, match="answers for 3 classes, expected 4"):
        remembered(image_net(), classes=4, execution=Execution()).ask(torch.randn(4, 2, 6, 6))


def test_a_teacher_that_cannot_be_copied_is_refused(image_net: Callable[[], nn.Sequential]) -> None:
    teacher = image_net()
    teacher.graph = torch.ones(1, requires_grad=True) * 2  # torch copies leaves only
    with pytest.raises(TeacherError, match="cannot be copied"):
        ready(teacher)


def test_likeness_is_one_less_the_divergence_in_bits(image_net: Callable[[], nn.Sequential]) -> None:
    inputs, teacher, student = torch.randn(6, 2, 6, 6, requires_grad=True), image_net(), image_net()
    with torch.no_grad():
        student[-1].weight.mul_(-3.0)
    asked = remembered(teacher, classes=3, execution=Execution(), student=student)
    assert asked.student is not None
    logits, _ = asked.ask(inputs)
    found = asked.likeness(asked.student, inputs, logits)
    p, q = logits.double().softmax(1), student.eval()(inputs).double().softmax(1)
    middle = (p + q) / 2
    divergence = (p * (p / middle).log2() + q * (q / middle).log2()).sum(1) / 2
    torch.testing.assert_close(found.double(), 1 - divergence.mean(), rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(found, inputs)
    assert gradient.abs().max() > 0


def test_a_student_that_answers_with_something_else_is_named(image_net: Callable[[], nn.Sequential]) -> None:
    student = nn.Flatten()
    asked = remembered(image_net(), classes=3, execution=Execution(), student=student)
    assert asked.student is not None
    inputs = torch.randn(6, 2, 6, 6)
    with pytest.raises(TeacherError, match="The student Flatten"):
        asked.likeness(asked.student, inputs, asked.ask(inputs)[0])
