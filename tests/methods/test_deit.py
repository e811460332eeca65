"""A second head: what it learns, and what ships."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.methods import DeiT, Traced
from limbeck.models import MLP, Architecture, Residual, Separable, ViT
from limbeck.taps import layers
from limbeck.types import Batch, Outputs

CLASSES = 5
FAMILIES = [Residual(width=4, depth=1), Separable(width=4, depth=1), ViT(width=16, depth=1), MLP(width=8)]


class Scaled(nn.Module):
    """A net whose logits are twice what its last linear layer gives."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        return 2 * self.head(inputs.flatten(1))


def test_the_second_head_learns_the_teachers_largest_class(case) -> None:
    made = case("deit")
    student, teacher = made.answers()
    log_q = log_softmax(made.state(student.taps["head@in"]).detach().numpy(), axis=-1)
    largest = teacher.logits.argmax(-1).numpy()
    assert float(made.loss().detach()) == pytest.approx(-log_q[np.arange(len(largest)), largest].mean())


def test_the_second_head_learns_softly_at_a_temperature(case) -> None:
    made = case(DeiT(temperature=3.0))
    student, teacher = made.answers()
    log_q = log_softmax(made.state(student.taps["head@in"]).detach().numpy() / 3, axis=-1)
    log_p = log_softmax(teacher.logits.detach().numpy() / 3, axis=-1)
    assert float(made.loss().detach()) == pytest.approx(
        9 * rel_entr(np.exp(log_p), np.exp(log_q)).sum(-1).mean()
    )


def test_the_students_own_head_learns_nothing(case) -> None:
    made = case("deit")
    gradients = made.gradient(made.loss())
    assert all((gradients[f"head.{name}"] == 0).all() for name in ("weight", "bias"))
    assert gradients["stem.0.weight"].abs().sum() > 0


def grown(family: Architecture) -> tuple[nn.Module, nn.Linear, nn.Module, Tensor]:
    """A student, its second head, what ships, and inputs."""
    student, inputs = family.build((1, 8, 8), CLASSES).eval(), torch.randn(3, 1, 8, 8)
    method = DeiT().bind(layers(student, inputs), None)
    state = method.init(traced(student, inputs))
    return student, state, method.deploy(student, state).eval(), inputs


def traced(student: nn.Module, inputs: Tensor) -> Traced:
    seen = []
    with torch.no_grad(), student.head.register_forward_pre_hook(lambda _, given: seen.append(given[0])):
        logits = student(inputs)
    nothing = torch.zeros(len(inputs), dtype=torch.int64)
    return Traced(
        Batch(nothing, inputs, nothing, nothing), Outputs(logits, {"head@in": seen[0]}), None, student
    )


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.kind)
def test_what_ships_is_the_mean_of_two_softmaxes(family: Architecture) -> None:
    student, second, shipped, inputs = grown(family)
    before = traced(student, inputs).student
    with torch.no_grad():
        heads = [before.logits.numpy(), second(before.taps["head@in"]).numpy()]
        found = shipped(inputs)
    torch.testing.assert_close(found.exp(), torch.from_numpy(np.mean(softmax(heads, axis=-1), 0)))
    torch.testing.assert_close(found.argmax(-1), found.exp().argmax(-1))


def test_what_ships_is_a_copy_and_the_student_stays_as_it_is() -> None:
    student, second, shipped, inputs = grown(MLP(width=8))
    with torch.no_grad():
        logits, before = student(inputs), shipped(inputs)
        nn.init.zeros_(second.weight)
        nn.init.zeros_(student.head.weight)
        assert torch.equal(shipped(inputs), before)
    assert isinstance(student.head, nn.Linear)
    assert not torch.equal(logits, before)


def test_what_ships_can_be_exported_for_any_number_of_examples() -> None:
    *_, shipped, inputs = grown(MLP(width=8))
    rows = torch.export.Dim("rows", min=1)
    program = torch.export.export(shipped, (inputs,), dynamic_shapes=({0: rows},)).module()
    more = torch.randn(7, 1, 8, 8)
    torch.testing.assert_close(program(more), shipped(more))


def test_logits_must_be_those_of_the_layer() -> None:
    student = Scaled()
    with pytest.raises(MethodError, match="not the output of 'head'"):
        DeiT(place="head@in").init(traced(student, torch.randn(3, 1, 8, 8)))


def test_the_place_must_be_the_input_of_a_linear_layer() -> None:
    student, inputs = MLP(width=8).build((1, 8, 8), CLASSES), torch.randn(3, 1, 8, 8)
    with pytest.raises(MethodError, match="expected the input of one linear layer"):
        DeiT(place="head").bind(layers(student, inputs), None)
    with pytest.raises(MethodError, match=r"expected nn\.Linear"):
        DeiT(place="layers.0@in").init(traced(student, inputs))
