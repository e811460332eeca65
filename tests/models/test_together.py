"""Several models as one module: the mean of what they say, at a temperature, and each still to be read."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from limbeck.errors import ModelError
from limbeck.losses import forward_kl
from limbeck.models import Together
from limbeck.taps import tap
from limbeck.teachers import Ensemble, LiveTeacher
from limbeck.types import ABSENT, CLEAN, Batch


@pytest.fixture
def members() -> list[nn.Module]:
    torch.manual_seed(0)
    return [nn.Linear(5, 4).double().eval() for _ in range(3)]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_at_its_temperature_it_says_the_mean_of_what_they_say(
    members: list[nn.Module], temperature: float
) -> None:
    inputs = torch.randn(7, 5, dtype=torch.float64) * 3
    said = torch.stack([(member(inputs) / temperature).softmax(-1) for member in members]).mean(0)
    found = Together(members, temperature=temperature)(inputs)
    torch.testing.assert_close((found / temperature).softmax(-1), said)
    teacher = Ensemble([LiveTeacher(each, classes=4) for each in members], temperature=temperature)
    ids = torch.arange(7)
    logits = teacher(Batch(ids, inputs, ids * 0 + ABSENT, ids * 0 + CLEAN)).logits
    torch.testing.assert_close(logits, found.float(), rtol=1e-4, atol=1e-5)


def test_a_student_learns_the_same_as_from_the_mean_of_the_divergences_at_its_temperature(
    members: list[nn.Module],
) -> None:
    inputs = torch.randn(7, 5, dtype=torch.float64) * 3
    student = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)

    def gradient(loss: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(loss.sum(), student)[0]

    each = [gradient(forward_kl(student, member(inputs), temperature=4.0)) for member in members]
    right, wrong = (Together(members, temperature=temperature)(inputs) for temperature in (4.0, 1.0))
    wanted = torch.stack(each).mean(0)
    torch.testing.assert_close(gradient(forward_kl(student, right, temperature=4.0)), wanted)
    assert not torch.allclose(gradient(forward_kl(student, wrong, temperature=4.0)), wanted, rtol=1e-2)


def test_its_members_can_be_read(members: list[nn.Module]) -> None:
    inputs = torch.randn(2, 5, dtype=torch.float64)
    together = Together(members, combine="mean-logit")
    with tap(together, ["member:0", "member:2"]) as read:
        answer = together(inputs)
    assert torch.equal(read["member:2"], members[2](inputs))
    torch.testing.assert_close(answer, torch.stack([member(inputs) for member in members]).mean(0))
    assert together.name == "Together(Linear, Linear, Linear)"


def test_how_it_combines_is_part_of_what_it_is(members: list[nn.Module]) -> None:
    kinds = [Together(members), Together(members, temperature=2.0), Together(members, combine="mean-logit")]
    digests = [LiveTeacher(kind.float(), classes=4, shape=(5,)).digest for kind in kinds]
    assert len(set(digests)) == len(kinds)
    ensembles = [
        Ensemble(members),
        Ensemble(members, temperature=2.0),
        Ensemble(members, combine="mean-logit"),
    ]
    assert len({ensemble.digest for ensemble in ensembles}) == len(ensembles)


def test_what_cannot_be_combined_is_refused(members: list[nn.Module]) -> None:
    wrong: Any = "median"
    with pytest.raises(ModelError, match="at least one"):
        Together([])
    with pytest.raises(Exception, match="mean-probability"):
        Together(members, combine=wrong)
    with pytest.raises(ModelError, match="greater than 0, got 0"):
        Ensemble(members, temperature=0.0)
