"""DeepInversion: inputs found by gradient descent, so that a teacher sees in them what its data had."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from jaxtyping import Float
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from limbeck.losses.classification import cross_entropy
from limbeck.losses.naturalness import roughness
from limbeck.recipe.plan import Execution
from limbeck.recipe.training import Cosine
from limbeck.training.made import Made, checked, refuse_too_few
from limbeck.training.optimizer import set_learning_rate
from limbeck.training.randomness import step_seed
from limbeck.training.remembered import Remembered, remembered, weighted
from limbeck.training.schedule import factor
from limbeck.training.terms import summed
from limbeck.types import Frozen, Teacher

_IMAGE_DIMS: Final = 3
_BETAS: Final = (0.5, 0.9)


class Inversion(Frozen):
    """How inputs are found. Weights are for means over pixels, features and examples, whatever the image's size."""

    steps: PositiveInt = 300
    """Adam steps for each batch."""

    batch_examples: PositiveInt = 256
    """Inputs that are made together; the statistics are theirs, so a small batch cannot match them well."""

    learning_rate: PositiveFloat = 0.1
    """The first one; half a cosine takes it down to nothing."""

    class_weight: NonNegativeFloat = 1.0
    """Of the teacher's cross-entropy against the intended class."""

    statistics_weight: NonNegativeFloat = 1.0
    """Of the distance from the running mean and variance, summed over the BatchNorm layers."""

    first_layer_weight: NonNegativeFloat = 10.0
    """What the first BatchNorm layer counts in that sum; every other one counts 1."""

    roughness_weight: NonNegativeFloat = 0.01
    """Of the images' total variation; nothing for inputs that are not images."""

    norm_weight: NonNegativeFloat = 0.001
    """Of the inputs' mean square."""

    competition_weight: NonNegativeFloat = 1.0
    """Of what a student that is given says like the teacher: 1 less the divergence of the two, in bits."""

    jitter: NonNegativeInt = 2
    """Largest shift in pixels, drawn anew at each step; what leaves on one side comes back on the other."""

    flip: bool = False
    """Mirror left and right in half of the steps; only for classes that are the same in a mirror."""


def invert(
    teacher: nn.Module | Teacher,
    *,
    shape: tuple[int, ...],
    classes: int,
    samples: int,
    settings: Inversion | None = None,
    bounds: Float[Tensor, "2 ..."] | None = None,
    seed: int = 0,
    execution: Execution | None = None,
    student: nn.Module | None = None,
) -> Iterator[Made]:
    r"""Make inputs from a teacher with BatchNorm, and no data.

    .. math:: \min_x \; CE(t(x), y) + w_f \sum_l \left( \|\hat\mu_l(x) - \mu_l\|_2
              + \|\hat\sigma_l^2(x) - \sigma_l^2\|_2 \right) + w_r \, TV(x) + w_n \, mean(x^2)
              + w_c (1 - JS(t(x), s(x)))

    The teacher is copied, and stays as it is. Equal arguments give equal bits.

    Args:
        teacher: A module, or a teacher that offers its module.
        shape: One input as the teacher takes it, without the batch: ``(channels, height, width)`` or ``(features,)``.
        classes: How many the teacher answers for; each is intended equally often.
        samples: How many inputs to make, in batches of nearly equal size.
        settings: The hyperparameters.
        bounds: The least and the greatest value of an input, such as the preprocessed values of black and white,
            each broadcast to ``shape``. None: any value.
        seed: Draws the first inputs and the jitter.
        execution: Number format, layout and threads; fp32 on one thread by default.
        student: A student that has learned something already; the inputs then look for where it differs from the
            teacher. It is copied too. None: no competition.

    Returns:
        One fact a step; the last step of each batch holds its inputs. :func:`~limbeck.training.made.collected`
        puts them together.

    Raises:
        TeacherError: If the teacher has no BatchNorm, or its module is not at hand.
        UserError: If there are fewer samples than classes.

    References:
        Yin et al., `Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion
        <https://arxiv.org/abs/1912.08795>`_, 2020, section 3.
    """
    refuse_too_few(samples, classes=classes)
    asked = remembered(teacher, classes=classes, execution=execution or Execution(), student=student)
    return _batches(asked, shape, samples, settings or Inversion(), bounds, seed)


def _batches(
    teacher: Remembered,
    shape: tuple[int, ...],
    samples: int,
    settings: Inversion,
    bounds: Tensor | None,
    seed: int,
) -> Iterator[Made]:
    batches = -(-samples // settings.batch_examples)
    labels = torch.arange(samples) % teacher.classes
    for number, intended in enumerate(labels.tensor_split(batches)):
        draws = torch.Generator().manual_seed(step_seed(seed, number))
        batch = _Batch(teacher, shape, intended, settings, bounds, draws)
        for step in range(settings.steps):
            terms = batch.step(step)
            total = number * settings.steps + step + 1
            done = step + 1 == settings.steps
            yield Made(
                total,
                batches * settings.steps,
                checked(terms, total, batches * settings.steps),
                batch.inputs.detach().cpu() if done else torch.empty(0, *shape),
                intended if done else intended[:0],
            )


class _Batch:
    """Inputs on their way."""

    def __init__(
        self,
        teacher: Remembered,
        shape: tuple[int, ...],
        labels: Tensor,
        settings: Inversion,
        bounds: Tensor | None,
        draws: torch.Generator,
    ) -> None:
        self._teacher, self._settings, self._draws = teacher, settings, draws
        self._labels = labels.to(teacher.device)
        self._bounds = None if bounds is None else bounds.to(teacher.device)
        start = torch.randn(len(labels), *shape, generator=draws).to(teacher.device)
        self.inputs = self._inside(start).requires_grad_()
        self._optimizer = torch.optim.Adam([self.inputs], lr=settings.learning_rate, betas=_BETAS)

    def step(self, number: int) -> dict[str, Tensor]:
        """One update of all inputs; the terms before it."""
        with self._teacher.computing():
            terms = self._terms()
            (self.inputs.grad,) = torch.autograd.grad(summed(terms), [self.inputs])
        rate = self._settings.learning_rate * factor(Cosine(), number, self._settings.steps)
        set_learning_rate(self._optimizer, rate)
        self._optimizer.step()
        self.inputs.data = self._inside(self.inputs.data)
        return terms

    def _terms(self) -> dict[str, Tensor]:
        settings = self._settings
        seen = self._jittered()
        logits, gaps = self._teacher.ask(seen)
        statistics = weighted(gaps, first_layer_weight=settings.first_layer_weight)
        terms = {
            "class": settings.class_weight * cross_entropy(logits, self._labels).mean(),
            "statistics": settings.statistics_weight * statistics,
            "norm": settings.norm_weight * self.inputs.square().mean(),
        }
        if self.inputs.ndim == 1 + _IMAGE_DIMS:
            terms["roughness"] = settings.roughness_weight * roughness(self.inputs).mean()
        if (rival := self._teacher.student) is not None:
            terms["competition"] = settings.competition_weight * self._teacher.likeness(rival, seen, logits)
        return terms

    def _jittered(self) -> Tensor:
        if self.inputs.ndim != 1 + _IMAGE_DIMS:
            return self.inputs
        jitter = self._settings.jitter
        down, right = torch.randint(-jitter, jitter + 1, (2,), generator=self._draws).tolist()
        mirrored = self._settings.flip and torch.rand((), generator=self._draws) < 0.5
        moved = self.inputs.roll((down, right), (2, 3))
        return moved.flip(3) if mirrored else moved

    def _inside(self, inputs: Tensor) -> Tensor:
        return inputs if self._bounds is None else inputs.clamp(self._bounds[0], self._bounds[1])
