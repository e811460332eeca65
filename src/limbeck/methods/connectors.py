"""Trainable maps from a layer of the student to a layer of the teacher, inferred from the two shapes."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from limbeck.errors import MethodError

Shape = tuple[int, ...]
Kind = Literal["linear", "convolution", "orthogonal"]


class Resize(nn.Module):
    """The student's features with the teacher's axes: rows, tokens or a map of the teacher's size; nothing trains.

    Args:
        student: Shape of the student's features, with the batch.
        teacher: Of the teacher's.
    """

    def __init__(self, student: Shape, teacher: Shape) -> None:
        super().__init__()
        check_features(student, "student")
        check_features(teacher, "teacher")
        self.teacher = teacher[1:]

    def forward(self, features: Tensor) -> Tensor:
        """Features ``[batch, ...]`` with the axes of the teacher's."""
        if len(self.teacher) == 1:
            return as_rows(features)
        if len(self.teacher) == 2:
            return as_tokens(features, self.teacher[0])
        return as_map(features, (self.teacher[1], self.teacher[2]))


def connector(student: Shape, teacher: Shape, *, kind: Kind = "linear", bias: bool = True) -> nn.Module:
    """A module from the student's features to the teacher's, for any two shapes.

    Axes are met first (a map is read as tokens and the other way round, sizes are pooled or interpolated), then the
    width: ``linear`` by one linear map of each token or pixel; ``convolution`` by a 3x3 convolution with batch
    normalisation, for maps; ``orthogonal`` by a linear map that keeps lengths and angles, where the student is not
    wider than the teacher.

    Args:
        student: Shape of the student's features, with the batch.
        teacher: Of the teacher's.
        kind: As above.
        bias: Whether a linear map has a shift; without effect on the others, which have none.

    Raises:
        MethodError: If a shape is not that of rows, tokens or maps, or the kind does not suit it.

    References:
        Miles, Elezi & Deng, `VkD: Improving Knowledge Distillation using Orthogonal Projections
        <https://arxiv.org/abs/2403.06213>`_, 2024 (orthogonal).
    """
    before, after = width(student), width(teacher)
    if kind == "convolution":
        if len(teacher) != 4:
            raise MethodError(
                f"A convolution connects feature maps, and the teacher's features have the shape {list(teacher)}. "
                "Take connector: linear."
            )
        layer: nn.Module = nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)
        )
    else:
        axis = 1 if len(teacher) == 4 else -1
        layer = Project(before, after, axis=axis, orthogonal=kind == "orthogonal", bias=bias)
    return nn.Sequential(Resize(student, teacher), layer)


class Project(nn.Module):
    """One linear map along an axis.

    Args:
        before: Width of the student.
        after: Width of the teacher.
        axis: Where the width stands: 1 in maps, -1 elsewhere.
        orthogonal: Keep lengths and angles; the map is then without a shift.
        bias: Whether there is a shift otherwise.
    """

    def __init__(
        self, before: int, after: int, *, axis: int, orthogonal: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        if orthogonal and before > after:
            raise MethodError(
                f"An orthogonal connector keeps angles only where the student ({before} wide) is not wider than the "
                f"teacher ({after}). Take connector: linear."
            )
        self.axis = axis
        layer = nn.Linear(before, after, bias=bias and not orthogonal)
        self.layer = parametrizations.orthogonal(layer) if orthogonal else layer

    def forward(self, features: Tensor) -> Tensor:
        """The same features, ``after`` wide."""
        answer: Tensor = self.layer(features.movedim(self.axis, -1))
        return answer.movedim(-1, self.axis)


def width(shape: Shape) -> int:
    """How wide features are: channels of a map, width of tokens or rows."""
    return shape[1] if len(shape) == 4 else shape[-1]


def as_rows(features: Tensor) -> Tensor:
    """Maps and tokens averaged to ``[batch, width]``; rows as they are."""
    if features.ndim == 4:
        return features.mean((2, 3))
    return features.mean(1) if features.ndim == 3 else features


def as_square(features: Tensor) -> Tensor:
    """Maps as they are; tokens as a square map ``[batch, channels, side, side]``; rows as a map of one pixel."""
    if features.ndim == 4:
        return features
    return _grid(features) if features.ndim == 3 else features[:, :, None, None]


def as_tokens(features: Tensor, count: int) -> Tensor:
    """Maps, tokens or rows as ``[batch, count, width]``."""
    if features.ndim == 2:
        return features[:, None].expand(-1, count, -1)
    if features.ndim == 3 and features.shape[1] == count:
        return features
    side = math.isqrt(count)
    if side * side == count:
        return as_map(features, (side, side)).flatten(2).transpose(1, 2)
    line = features.flatten(2) if features.ndim == 4 else features.transpose(1, 2)
    return functional.interpolate(line, size=count, mode="linear", align_corners=False).transpose(1, 2)


def as_map(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps, tokens or rows as ``[batch, channels, height, width]`` of a size; tokens are read row by row."""
    if features.ndim == 2:
        return features[:, :, None, None].expand(-1, -1, *size)
    grid = features if features.ndim == 4 else _grid(features)
    if grid.shape[2:] == torch.Size(size):
        return grid
    if grid.shape[2] >= size[0] and grid.shape[3] >= size[1]:
        return functional.adaptive_avg_pool2d(grid, size)
    return functional.interpolate(grid, size=size, mode="bilinear", align_corners=False)


def check_features(shape: Shape, owner: str) -> None:
    """Refuse what is no features.

    Raises:
        MethodError: If the shape has neither two, three nor four axes.
    """
    if len(shape) not in (2, 3, 4):
        raise MethodError(
            f"The {owner}'s features have the shape {list(shape)}, expected rows [batch, width], tokens "
            "[batch, tokens, width] or maps [batch, channels, height, width]. Name another layer."
        )


def _grid(tokens: Tensor) -> Tensor:
    """Tokens as a square map; what does not fit in front (a class token) is left out."""
    side = math.isqrt(tokens.shape[1])
    patches = tokens[:, tokens.shape[1] - side * side :]
    return patches.transpose(1, 2).reshape(len(tokens), tokens.shape[2], side, side)
