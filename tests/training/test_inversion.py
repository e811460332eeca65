"""Inversion: what is minimised, that it is, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limbeck.losses.classification import cross_entropy
from limbeck.losses.naturalness import roughness, statistics_gap
from limbeck.training.inversion import Inversion, invert
from limbeck.training.made import Made, collected

SETTINGS = Inversion(steps=60, batch_examples=12, jitter=0, first_layer_weight=1.0)


def steps(
    teacher: nn.Module, *, samples: int = 12, settings: Inversion = SETTINGS, **options: Any
) -> list[Made]:
    return list(invert(teacher, shape=(2, 6, 6), classes=3, samples=samples, settings=settings, **options))


def confidence(teacher: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return teacher.eval()(inputs).softmax(1).gather(1, labels[:, None]).mean()


def test_inputs_come_to_be_of_their_classes_and_to_have_the_statistics(learned: nn.Sequential) -> None:
    made = steps(learned)
    inputs, labels = collected(made)
    first, _ = collected(steps(learned, settings=SETTINGS.model_copy(update={"steps": 1})))
    assert confidence(learned, inputs, labels) > 0.9 > 0.5 > confidence(learned, first, labels)
    assert made[-1].losses["statistics"] < made[0].losses["statistics"] / 3


def test_the_first_loss_is_the_definition(learned: nn.Sequential) -> None:
    settings = Inversion(
        steps=1,
        batch_examples=12,
        jitter=0,
        learning_rate=1e-12,  # so that what comes out is what went in
        class_weight=0.5,
        statistics_weight=2.0,
        first_layer_weight=10.0,
        roughness_weight=0.3,
        norm_weight=0.7,
    )
    (step,) = steps(learned, settings=settings)
    plain = learned.eval()
    gaps = [
        statistics_gap(plain[:place](step.inputs), plain[place].running_mean, plain[place].running_var)
        for place in (1, 4)
    ]
    expected = {
        "class": 0.5 * cross_entropy(plain(step.inputs), step.labels).mean(),
        "statistics": 2.0 * (10 * gaps[0] + gaps[1]),
        "roughness": 0.3 * roughness(step.inputs).mean(),
        "norm": 0.7 * (step.inputs**2).mean(),
    }
    assert step.losses == pytest.approx({name: part.item() for name, part in expected.items()}, rel=1e-4)


@pytest.mark.parametrize(("samples", "sizes"), [(12, [12]), (13, [7, 6]), (30, [10, 10, 10]), (5, [5])])
def test_there_are_as_many_as_asked_for_in_even_batches_and_classes(
    learned: nn.Sequential, samples: int, sizes: list[int]
) -> None:
    made = steps(learned, samples=samples, settings=SETTINGS.model_copy(update={"steps": 2}))
    assert [len(step.inputs) for step in made] == [size for last in sizes for size in (0, last)]
    assert [step.number for step in made] == list(range(1, 2 * len(sizes) + 1))
    assert {step.steps for step in made} == {2 * len(sizes)}
    inputs, labels = collected(made)
    assert inputs.shape == (samples, 2, 6, 6)
    assert inputs.dtype == torch.float32
    assert torch.equal(labels, torch.arange(samples) % 3)


def test_bounds_are_kept_and_reached(learned: nn.Sequential) -> None:
    bounds = torch.tensor([[-0.5, -0.2], [0.1, 0.3]])[:, :, None, None]
    inputs, _ = collected(steps(learned, bounds=bounds))
    for channel in range(2):
        assert inputs[:, channel].min() == bounds[0, channel]
        assert inputs[:, channel].max() == bounds[1, channel]


def test_rows_of_features_can_be_made_too() -> None:
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    made = list(invert(teacher, shape=(6,), classes=3, samples=9, settings=SETTINGS))
    inputs, _ = collected(made)
    assert inputs.shape == (9, 6)
    assert "roughness" not in made[0].losses
    assert made[-1].losses["class"] < made[0].losses["class"]
    assert made[-1].losses["statistics"] < made[0].losses["statistics"]


def test_jitter_moves_what_the_teacher_sees_and_not_what_comes_out(
    image_net: Callable[[], nn.Sequential],
) -> None:
    seen: list[Tensor] = []

    class Watching(nn.Sequential):
        def forward(self, inputs: Tensor) -> Tensor:
            seen.append(inputs.detach().clone())
            return super().forward(inputs)

    settings = Inversion(steps=20, batch_examples=3, jitter=2, flip=True, learning_rate=1e-12)
    inputs, _ = collected(steps(Watching(*image_net()), samples=3, settings=settings))
    views = {
        (down, right, flip): inputs.roll((down, right), (2, 3)).flip([3] if flip else [])
        for down in range(-2, 3)
        for right in range(-2, 3)
        for flip in (False, True)
    }
    found = [[name for name, view in views.items() if torch.allclose(view, each)] for each in seen]
    assert all(len(names) == 1 for names in found)
    assert len({names[0] for names in found}) > 10
