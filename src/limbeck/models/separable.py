"""A depthwise-separable convolutional family, for small students."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from torch import nn

from limbeck.models.architecture import Architecture, Network, image_channels, scaled
from limbeck.models.residual import convolution


class Separable(Architecture):
    """A 3x3 convolution for each channel, then a 1x1 convolution across channels, in stages that halve the
    image and double the channels.

    There is no activation between the two (Chollet found it worse), and no normalisation either, which is a
    third of the training time on a CPU.

    References:
        Howard et al., `MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications
        <https://arxiv.org/abs/1704.04861>`_, 2017.
        Chollet, `Xception: Deep Learning with Depthwise Separable Convolutions
        <https://arxiv.org/abs/1610.02357>`_, 2017, section 4.7.
    """

    kind: Literal["separable"] = "separable"

    width: PositiveInt = 24
    """Channels of the first, ordinary convolution; each stage has twice as many as what comes before it."""

    depth: PositiveInt = 2
    """Separable blocks in each stage."""

    stages: Annotated[int, Field(ge=1, le=6)] = 2
    """Groups of blocks; each halves height and width."""

    stem_stride: Annotated[int, Field(ge=1, le=4)] = 2
    """Stride of the first convolution: 2 makes everything after it about four times cheaper."""

    def build(self, shape: tuple[int, ...], classes: int) -> Network:
        """A new module for images ``(channels, height, width)``."""
        channels = image_channels(self.kind, shape)
        body = {
            "stem": convolution(channels, self.width, stride=self.stem_stride),
            "stages": nn.Sequential(*(self._stage(number) for number in range(self.stages))),
            "pool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "head": nn.Linear(self.width * 2**self.stages, classes),
        }
        return Network(self, shape, classes, body)

    def shrunk(self, *, width: float, depth: float) -> Separable:
        """Fewer channels, in multiples of 4, and fewer blocks; the same stages and stem."""
        sizes = {
            "width": scaled(self.width, width, multiple=4),
            "depth": scaled(self.depth, depth, multiple=1),
        }
        return self.model_copy(update=sizes)

    def _stage(self, number: int) -> nn.Sequential:
        before = self.width * 2**number
        first = _block(before, 2 * before, stride=2)
        return nn.Sequential(
            first, *(_block(2 * before, 2 * before, stride=1) for _ in range(self.depth - 1))
        )


def _block(before: int, after: int, *, stride: int) -> nn.Sequential:
    spatial = nn.Conv2d(before, before, 3, stride, padding=1, groups=before, bias=False)
    return nn.Sequential(spatial, *convolution(before, after, kernel=1))
