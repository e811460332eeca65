"""A generator trained against a teacher alone, and the inputs that it gives off as it learns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from jaxtyping import Float
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from limbeck.errors import UserError
from limbeck.losses.classification import cross_entropy
from limbeck.recipe.plan import Execution
from limbeck.training.generator import Generator
from limbeck.training.made import Made, checked, refuse_too_few
from limbeck.training.randomness import drawing, step_seed
from limbeck.training.remembered import Remembered, remembered, weighted
from limbeck.training.terms import summed
from limbeck.types import Frozen, Teacher

_BETAS: Final = (0.5, 0.999)


class Synthesis(Frozen):
    """How the generator learns, and how much of what it makes is kept."""

    steps: PositiveInt = 1000
    """Adam steps of the generator."""

    warmup_steps: NonNegativeInt = 200
    """Steps whose images are not kept."""

    batch_examples: PositiveInt = 256
    """Images made in one step; the statistics are theirs, so a small batch cannot match them well."""

    learning_rate: PositiveFloat = 2e-3
    """Constant: a generator that goes on moving makes other images all the time."""

    class_weight: NonNegativeFloat = 1.0
    """Of the teacher's cross-entropy against the intended class."""

    statistics_weight: NonNegativeFloat = 1.0
    """Of the distance from the running mean and variance, summed over the BatchNorm layers."""

    first_layer_weight: NonNegativeFloat = 1.0
    """What the first BatchNorm layer counts in that sum; every other one counts 1."""

    competition_weight: NonNegativeFloat = 1.0
    """Of what a student that is given says like the teacher: 1 less the divergence of the two, in bits."""

    noise: PositiveInt = 64
    """How many random numbers make an image."""

    width: PositiveInt = 32
    """Channels of the generator's last layers."""

    @model_validator(mode="after")
    def _keeps_some(self) -> Synthesis:
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps is {self.warmup_steps}, so none of {self.steps} steps is kept")
        return self


def synthesise(
    teacher: nn.Module | Teacher,
    *,
    shape: tuple[int, int, int],
    classes: int,
    samples: int,
    settings: Synthesis | None = None,
    bounds: Float[Tensor, "2 ..."] | None = None,
    seed: int = 0,
    execution: Execution | None = None,
    student: nn.Module | None = None,
) -> Iterator[Made]:
    r"""Train a generator against a teacher with BatchNorm, without data, and keep what it makes meanwhile.

    .. math:: \min_G \; CE(t(x), y) + w_f \sum_l \left( \|\hat\mu_l(x) - \mu_l\|_2
              + \|\hat\sigma_l^2(x) - \sigma_l^2\|_2 \right) + w_c (1 - JS(t(x), s(x))), \quad x = G(z, y)

    The generator is told the class, and each class is asked for equally often; DAFL leaves the choice to the
    generator and needs a term that balances the classes. The teacher is copied, and stays as it is. Equal arguments
    give equal bits.

    Args:
        teacher: A module, or a teacher that offers its module.
        shape: One input as the teacher takes it, without the batch: ``(channels, height, width)``.
        classes: How many the teacher answers for.
        samples: How many inputs to keep; the same number of each step after the warm-up.
        settings: The hyperparameters.
        bounds: The least and the greatest value of an input, such as the preprocessed values of black and white,
            each broadcast to ``shape``. None: each batch is standardised.
        seed: Draws the generator's weights and the noise.
        execution: Number format, layout and threads; fp32 on one thread by default.
        student: A student that has learned something already; the inputs then look for where it differs from the
            teacher. It is copied too. None: no competition.

    Returns:
        One fact a step, with the inputs that are kept of it. :func:`~limbeck.training.made.collected` puts them
        together.

    Raises:
        TeacherError: If the teacher has no BatchNorm, or its module is not at hand.
        UserError: If the steps cannot give so many inputs, or there are fewer than classes.

    References:
        Chen et al., `Data-Free Learning of Student Networks <https://arxiv.org/abs/1904.01186>`_, 2019 (DAFL).

        Fang et al., `Contrastive Model Inversion for Data-Free Knowledge Distillation
        <https://arxiv.org/abs/2105.08584>`_, 2021 (the pool that grows while the generator learns).

        Yin et al., `Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion
        <https://arxiv.org/abs/1912.08795>`_, 2020, section 3.3 (the competition with a student).
    """
    refuse_too_few(samples, classes=classes)
    chosen = settings or Synthesis()
    most = chosen.batch_examples * (chosen.steps - chosen.warmup_steps)
    if samples > most:
        raise UserError(
            f"samples is {samples}, but the steps after the warm-up make {most} inputs. Raise settings.steps or "
            "settings.batch_examples, or ask for fewer."
        )
    asked = remembered(teacher, classes=classes, execution=execution or Execution(), student=student)
    with drawing(seed):
        generator = Generator(shape, classes, noise=chosen.noise, width=chosen.width, bounds=bounds)
    return _steps(_Learning(asked, generator.to(asked.device), chosen, seed), samples)


def _steps(learning: _Learning, samples: int) -> Iterator[Made]:
    settings, kept = learning.settings, 0
    share = -(-samples // (settings.steps - settings.warmup_steps))
    for number in range(settings.steps):
        terms, inputs, labels = learning.step(number, first_class=kept)
        rows = 0 if number < settings.warmup_steps else min(share, samples - kept)
        kept += rows
        done = number + 1
        parts = checked(terms, done, settings.steps)
        yield Made(done, settings.steps, parts, inputs[:rows].cpu().clone(), labels[:rows].cpu().clone())


class _Learning:
    """A generator on its way."""

    def __init__(self, teacher: Remembered, generator: Generator, settings: Synthesis, seed: int) -> None:
        self.settings = settings
        self._teacher, self._generator, self._seed = teacher, generator, seed
        self._weights = list(generator.parameters())
        self._optimizer = torch.optim.Adam(self._weights, lr=settings.learning_rate, betas=_BETAS)

    def step(self, number: int, *, first_class: int) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """One update; the terms before it, and the images and classes that they are of."""
        settings, device = self.settings, self._teacher.device
        draws = torch.Generator().manual_seed(step_seed(self._seed, number))
        noise = torch.randn(settings.batch_examples, settings.noise, generator=draws).to(device)
        labels = (torch.arange(settings.batch_examples, device=device) + first_class) % self._teacher.classes
        with self._teacher.computing():
            images = self._generator(noise, labels)
            terms = self._terms(images, labels)
            gradients = torch.autograd.grad(summed(terms), self._weights)
        for weight, gradient in zip(self._weights, gradients, strict=True):
            weight.grad = gradient
        self._optimizer.step()
        return terms, images.detach(), labels

    def _terms(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        settings = self.settings
        logits, gaps = self._teacher.ask(images)
        terms = {
            "class": settings.class_weight * cross_entropy(logits, labels).mean(),
            "statistics": settings.statistics_weight
            * weighted(gaps, first_layer_weight=settings.first_layer_weight),
        }
        if (rival := self._teacher.student) is not None:
            terms["competition"] = settings.competition_weight * self._teacher.likeness(rival, images, logits)
        return terms
