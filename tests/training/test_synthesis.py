"""Synthesis: a generator that learns the teacher's classes and statistics, and the pool that it leaves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from limbeck.errors import UserError
from limbeck.training.made import Made, collected
from limbeck.training.synthesis import Synthesis, synthesise

SETTINGS = Synthesis(steps=60, warmup_steps=50, batch_examples=24, width=4, noise=5)


def steps(
    teacher: nn.Module, *, samples: int = 40, settings: Synthesis = SETTINGS, **options: Any
) -> list[Made]:
    return list(
        synthesise(teacher, shape=(2, 6, 6), classes=3, samples=samples, settings=settings, **options)
    )


def confidence(teacher: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return teacher.eval()(inputs).softmax(1).gather(1, labels[:, None]).mean()


def test_inputs_come_to_be_of_their_classes_and_to_have_the_statistics(learned: nn.Sequential) -> None:
    made = steps(learned)
    inputs, labels = collected(made)
    first, early = collected(steps(learned, settings=Synthesis(steps=2, warmup_steps=0, width=4, noise=5)))
    assert confidence(learned, inputs, labels) > 0.8 > 0.5 > confidence(learned, first, early)
    assert made[-1].losses["statistics"] < made[0].losses["statistics"] / 2


@pytest.mark.parametrize("samples", [3, 10, 37, 240])
def test_there_are_as_many_as_asked_for_in_even_classes(learned: nn.Sequential, samples: int) -> None:
    made = steps(learned, samples=samples)
    assert [step.number for step in made] == list(range(1, 61))
    assert all(len(step.labels) == 0 for step in made[:50])
    inputs, labels = collected(made)
    assert inputs.shape == (samples, 2, 6, 6)
    assert inputs.dtype == torch.float32
    assert torch.equal(labels, torch.arange(samples) % 3)


def test_more_than_the_steps_can_give_is_refused(learned: nn.Sequential) -> None:
    with pytest.raises(UserError, match=r"241.*240"):
        synthesise(learned, shape=(2, 6, 6), classes=3, samples=241, settings=SETTINGS)


def test_a_warmup_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="none of 5 steps is kept"):
        Synthesis(steps=5, warmup_steps=5)


def test_no_two_inputs_are_the_same(learned: nn.Sequential) -> None:
    inputs, _ = collected(steps(learned, samples=240))
    assert len(inputs.flatten(1).unique(dim=0)) == 240


def test_bounds_are_kept(learned: nn.Sequential) -> None:
    bounds = torch.tensor([[-0.5, -0.2], [0.1, 0.3]])[:, :, None, None]
    inputs, _ = collected(steps(learned, bounds=bounds))
    assert ((inputs >= bounds[0]) & (inputs <= bounds[1])).all()


def test_without_bounds_each_batch_is_standardised(learned: nn.Sequential) -> None:
    made = steps(learned, samples=24, settings=Synthesis(steps=1, warmup_steps=0, batch_examples=24, width=4))
    columns = made[0].inputs.transpose(0, 1).flatten(1)
    torch.testing.assert_close(columns.mean(1), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(columns.std(1), torch.ones(2), atol=1e-2, rtol=0)
