"""Inputs that were made, not collected: the steps that make them, and what comes of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from limbeck.errors import NonFiniteLossError, UserError


@dataclass(frozen=True, slots=True)
class Made:
    """One optimizer step of making inputs, done."""

    number: int
    """Counted from 1."""
    steps: int
    """How many there will be."""
    terms: Mapping[str, Tensor] = field(repr=False)
    """Each term's part of the loss, without gradients."""
    inputs: Float[Tensor, "kept ..."] = field(repr=False)
    """What this step finished, as a model takes it; none in most steps of an inversion."""
    labels: Int[Tensor, " kept"] = field(repr=False)
    """The class that each was made for."""

    @property
    def losses(self) -> dict[str, float]:
        """Each term's part of the loss; read from the device when asked for."""
        return {name: float(part) for name, part in self.terms.items()}


def collected(steps: Iterable[Made]) -> tuple[Float[Tensor, "samples ..."], Int[Tensor, " samples"]]:
    """All inputs that some steps finished, and the classes that they were made for.

    Args:
        steps: What :func:`~limbeck.training.inversion.invert` or
            :func:`~limbeck.training.synthesis.synthesise` gives, or those that a caller kept of it.

    Returns:
        float32 inputs on the CPU, and int64 classes: what :class:`limbeck.data.Arrays` takes.
    """
    finished = [(step.inputs, step.labels) for step in steps if len(step.labels)]
    inputs, labels = zip(*finished, strict=True)
    return torch.cat(inputs), torch.cat(labels)


def mixed(inputs: Float[Tensor, "samples ..."], count: int, *, seed: int = 0) -> Float[Tensor, "mixed ..."]:
    """Inputs between two others, where a student would otherwise never hear its teacher.

    Made inputs are those that the teacher is sure of; between them lie its boundaries. Each mixture is
    ``share * one + (1 - share) * other``, of two inputs drawn at random, with a share that is uniform on [0, 1].

    Args:
        inputs: At least one.
        count: How many mixtures.
        seed: Draws the pairs and the shares. Equal arguments give equal bits.

    References:
        Beyer et al., `Knowledge distillation: A good teacher is patient and consistent
        <https://arxiv.org/abs/2106.05237>`_, 2021 (teacher and student see the same mixture).
    """
    draws = torch.Generator().manual_seed(seed)
    one, other = torch.randint(len(inputs), (2, count), generator=draws)
    share = torch.rand(count, generator=draws).reshape(-1, *[1] * (inputs.ndim - 1)).to(inputs.device)
    return torch.lerp(inputs[other.to(inputs.device)], inputs[one.to(inputs.device)], share)


def pasted(
    images: Float[Tensor, "samples channels height width"], count: int, *, seed: int = 0
) -> Float[Tensor, "pasted channels height width"]:
    """Images with a rectangle of another in them, so that a student hears its teacher about parts and their places.

    Both images are drawn at random, and so is the rectangle: its sides from a quarter to three quarters of the
    image's, its first corner in the first three quarters; what leaves the image is cut off.

    Args:
        images: At least one.
        count: How many to make.
        seed: Draws the pairs and the rectangles. Equal arguments give equal bits.

    References:
        Yun et al., `CutMix: regularization strategy to train strong classifiers with localizable features
        <https://arxiv.org/abs/1905.04899>`_, 2019; here the teacher answers, so labels are not mixed.
    """
    draws = torch.Generator().manual_seed(seed)
    one, other = torch.randint(len(images), (2, count), generator=draws)
    rows, columns = (_within(size, count, draws) for size in images.shape[2:])
    inside = (rows[:, None, :, None] & columns[:, None, None, :]).to(images.device)
    return torch.where(inside, images[one.to(images.device)], images[other.to(images.device)])


def _within(size: int, count: int, draws: torch.Generator) -> Bool[Tensor, "count size"]:
    """Which pixels along one side lie in each rectangle."""
    quarter = size // 4
    lengths = torch.randint(max(1, quarter), max(2, size - quarter + 1), (count, 1), generator=draws)
    starts = torch.randint(0, max(1, size - quarter), (count, 1), generator=draws)
    pixels = torch.arange(size)
    return (pixels >= starts) & (pixels < starts + lengths)


def refuse_too_few(samples: int, *, classes: int) -> None:
    """Refuse a number of inputs that leaves a class without any.

    Raises:
        UserError: If there are fewer than classes.
    """
    if samples < classes:
        raise UserError(
            f"samples is {samples}, expected at least {classes}, one for each class of the teacher. Ask for more."
        )


def checked(terms: Mapping[str, Tensor], number: int, steps: int) -> dict[str, Tensor]:
    """The terms of a step without gradients, if they are finite.

    Raises:
        NonFiniteLossError: If one is not.
    """
    parts = {name: part.detach() for name, part in terms.items()}
    for name, part in parts.items():
        if not math.isfinite(float(part)):
            raise NonFiniteLossError(
                f"The term {name!r} is {float(part)} at step {number} of {steps} of making inputs, expected a finite "
                "number. Lower the learning rate, or compute in fp32."
            )
    return parts
