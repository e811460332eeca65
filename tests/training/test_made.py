"""What both ways of making inputs promise, and how what they make becomes a pool."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from limbeck.data import Arrays, Augmentation, Preprocessing, Stream
from limbeck.errors import NonFiniteLossError, TeacherError, UserError
from limbeck.models import state_digest
from limbeck.training.inversion import Inversion, invert
from limbeck.training.made import Made, collected, mixed, pasted
from limbeck.training.synthesis import Synthesis, synthesise

Maker = Callable[..., Iterator[Made]]
SHAPE, CLASSES, SAMPLES = (2, 6, 6), 3, 12


def inversion(teacher: nn.Module, *, samples: int = SAMPLES, **options: Any) -> Iterator[Made]:
    settings = Inversion(steps=4, batch_examples=6)
    return invert(teacher, shape=SHAPE, classes=CLASSES, samples=samples, settings=settings, **options)


def synthesis(teacher: nn.Module, *, samples: int = SAMPLES, **options: Any) -> Iterator[Made]:
    settings = Synthesis(steps=6, warmup_steps=2, batch_examples=6, width=4, noise=3)
    return synthesise(teacher, shape=SHAPE, classes=CLASSES, samples=samples, settings=settings, **options)


every_maker = pytest.mark.parametrize("make", [inversion, synthesis])


def everything(teacher: nn.Module) -> tuple[object, ...]:
    """All that could change of a module."""
    return (
        state_digest(teacher),
        [part.training for part in teacher.modules()],
        [(weight.requires_grad, weight.grad is None) for weight in teacher.parameters()],
        [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in teacher.modules()],
        [tensor._version for tensor in (*teacher.parameters(), *teacher.buffers())],
    )


class Failing(nn.Module):
    """Fails when it is asked for the third time."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 3:
            raise RuntimeError("no third answer")
        answer: Tensor = self.inner(inputs)
        return answer


@every_maker
@pytest.mark.parametrize("end", ["finished", "left", "failed"])
def test_the_teacher_stays_as_it_is_however_it_ends(
    make: Maker, end: str, image_net: Callable[[], nn.Sequential]
) -> None:
    inner = image_net().train()
    inner[4].eval()
    inner[0].weight.requires_grad_(False)
    teacher = Failing(inner) if end == "failed" else inner
    before = everything(teacher)
    with suppress(RuntimeError):
        for step in make(teacher):
            assert everything(teacher) == before
            if end == "left" and step.number == 2:
                break
    assert everything(teacher) == before
    assert getattr(teacher, "calls", 0) == 0


@every_maker
def test_a_seed_gives_its_own_bits_whatever_happens_between_steps(
    make: Maker, image_net: Callable[[], nn.Sequential]
) -> None:
    expected = collected(make(image_net(), seed=3))
    teacher, kept = image_net(), []
    torch.manual_seed(1)
    with torch.no_grad():
        for step in make(teacher, seed=3):
            kept.append(step)
            torch.rand(7)
            teacher.train()(torch.randn(4, *SHAPE))
            teacher[0].weight.add_(1.0)
    for found, one in zip(collected(kept), expected, strict=True):
        assert torch.equal(found, one)
    assert not torch.equal(collected(make(image_net(), seed=4))[0], expected[0])


@every_maker
def test_the_callers_random_numbers_go_on_undisturbed(
    make: Maker, image_net: Callable[[], nn.Sequential]
) -> None:
    teacher, before = image_net(), torch.get_rng_state()
    list(make(teacher))
    assert torch.equal(torch.get_rng_state(), before)


@every_maker
def test_a_teacher_without_batchnorm_is_refused_before_the_first_step(make: Maker) -> None:
    with pytest.raises(TeacherError, match=r"no BatchNorm.*Distil on data"):
        make(nn.Sequential(nn.Flatten(), nn.Linear(72, 3)))


@every_maker
def test_fewer_than_one_a_class_are_refused(make: Maker, image_net: Callable[[], nn.Sequential]) -> None:
    with pytest.raises(UserError, match="samples is 2, expected at least 3"):
        make(image_net(), samples=2)


@every_maker
def test_a_callers_autocast_changes_nothing(make: Maker, image_net: Callable[[], nn.Sequential]) -> None:
    teacher = image_net()
    expected, _ = collected(make(teacher))
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = collected(make(teacher))
    assert torch.equal(found, expected)


@every_maker
def test_a_loss_that_is_not_finite_is_refused_by_name(
    make: Maker, image_net: Callable[[], nn.Sequential]
) -> None:
    teacher = image_net()
    nn.init.constant_(teacher[-1].bias, float("nan"))
    with pytest.raises(NonFiniteLossError, match="'class' is nan at step 1"):
        list(make(teacher))


@every_maker
def test_float_images_reach_a_student_with_their_channels(
    make: Maker, image_net: Callable[[], nn.Sequential]
) -> None:
    inputs, labels = collected(make(image_net()))
    pool = Arrays(inputs, labels)
    as_they_are = Preprocessing(kind="features", mean=(0.0,), std=(1.0,)).fitted(pool)
    assert as_they_are.shape(pool.shape) == SHAPE
    stream = Stream(pool, as_they_are, batch_examples=SAMPLES, seed=0, augmentation=Augmentation(shift=1))
    batch = stream.clean(stream.batch(0))
    order = [int((pool.ids == each).nonzero()) for each in batch.ids]
    assert torch.equal(batch.inputs, inputs[order])
    assert torch.equal(batch.labels, labels[order])
    assert image_net()(stream.batch(0).inputs).shape == (SAMPLES, CLASSES)


@every_maker
def test_images_as_bytes_are_the_nearest_that_preprocessing_leads_back(
    make: Maker, image_net: Callable[[], nn.Sequential]
) -> None:
    preprocessing = Preprocessing(mean=(0.3, 0.5), std=(0.2, 0.4))
    white = torch.full((1, 1, 1, 2), 255, dtype=torch.uint8)
    bounds = preprocessing.apply(torch.cat([0 * white, white]))
    inputs, _ = collected(make(image_net(), bounds=bounds))
    raw = preprocessing.raw(inputs)
    assert raw.shape == (SAMPLES, 6, 6, 2)
    half_a_level = torch.tensor([0.5 / 255 / 0.2, 0.5 / 255 / 0.4]).reshape(2, 1, 1)
    assert ((preprocessing.apply(raw) - inputs).abs() <= half_a_level + 1e-6).all()


def test_collecting_takes_what_a_caller_kept(image_net: Callable[[], nn.Sequential]) -> None:
    made = list(synthesis(image_net()))
    inputs, labels = collected(made[-2:])
    np.testing.assert_array_equal(inputs, collected(made)[0][-len(labels) :])


def test_a_mixture_lies_between_two_inputs_and_is_drawn_from_the_seed() -> None:
    ends = torch.tensor([[0.0, 10.0], [8.0, 2.0]])
    found = mixed(ends, 1000, seed=3)
    assert found.shape == (1000, 2)
    shares = found[:, 0] / 8
    torch.testing.assert_close(found[:, 1], 10 - 8 * shares)
    assert 0 <= shares.min() < 0.1 < 0.9 < shares.max() <= 1
    assert torch.equal(found, mixed(ends, 1000, seed=3))
    assert not torch.equal(found, mixed(ends, 1000, seed=4))


def rectangle(inside: Tensor) -> tuple[int, int]:
    """The sides of a rectangle; none where the pixels make none."""
    rows, columns = int(inside.any(1).sum()), int(inside.any(0).sum())
    return (rows, columns) if int(inside.sum()) == rows * columns else (0, 0)


def test_a_rectangle_of_another_image_is_pasted_and_drawn_from_the_seed() -> None:
    images = torch.arange(5.0)[:, None, None, None].expand(5, 2, 12, 16).contiguous()
    found = pasted(images, 500, seed=3)
    assert found.shape == (500, 2, 12, 16)
    assert torch.equal(found[:, 0], found[:, 1])  # the same rectangle in every channel
    for image in found[:, 0]:
        values = image.unique()
        sides = [rectangle(image == value) for value in values]
        assert len(values) == 1 or any(3 <= rows <= 9 and 4 <= columns <= 12 for rows, columns in sides)
    two = torch.tensor([len(image.unique()) for image in found[:, 0]])
    assert 0.6 < float((two == 2).double().mean()) < 1  # of five images, one in five draws has the same twice
    assert torch.equal(found, pasted(images, 500, seed=3))
    assert not torch.equal(found, pasted(images, 500, seed=4))


def test_pasting_takes_images_of_any_size_and_none_of_them() -> None:
    assert pasted(torch.rand(3, 1, 1, 1), 4).shape == (4, 1, 1, 1)
    assert pasted(torch.rand(3, 1, 8, 8), 0).shape == (0, 1, 8, 8)


@every_maker
def test_a_student_is_competed_with_and_stays_as_it_is(
    make: Maker, image_net: Callable[[], nn.Sequential]
) -> None:
    teacher, student = image_net(), image_net().train()
    with torch.no_grad():
        student[-1].weight.mul_(-1.0)
    before = everything(student)
    alone, rivals = list(make(teacher)), list(make(teacher, student=student))
    assert everything(student) == before
    assert "competition" not in alone[0].losses
    assert 0 < rivals[0].losses["competition"] < 1
    assert not torch.equal(collected(alone)[0], collected(rivals)[0])
    assert next(iter(make(teacher, student=teacher))).losses["competition"] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (invert, Inversion(steps=60, batch_examples=12, jitter=0, competition_weight=5.0)),
        (
            synthesise,
            Synthesis(steps=60, warmup_steps=50, batch_examples=24, width=4, competition_weight=5.0),
        ),
    ],
)
def test_in_competition_the_student_agrees_less_with_what_is_made(
    make: Maker, settings: object, learned: nn.Sequential
) -> None:
    student = copy.deepcopy(learned)
    with torch.no_grad():
        student[-1].weight[0] = 0.0  # it knows nothing of the first class
    alone, rival = (
        collected(make(learned, shape=SHAPE, classes=CLASSES, samples=24, settings=settings, student=given))[
            0
        ]
        for given in (None, student)
    )
    with torch.no_grad():
        apart = [
            (learned.eval()(made).softmax(1) - student.eval()(made).softmax(1)).abs().sum(1).mean()
            for made in (alone, rival)
        ]
    assert apart[1] > apart[0]
