"""A residual convolutional family, from large teachers to small students."""

from __future__ import annotations

from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from limbeck.models.architecture import Architecture, Network, image_channels, scaled


class Residual(Architecture):
    """Pairs of 3x3 convolutions around a shortcut, in stages that halve the image and double the channels.

    References:
        He, Zhang, Ren & Sun, `Deep Residual Learning for Image Recognition
        <https://arxiv.org/abs/1512.03385>`_, 2015.
    """

    kind: Literal["residual"] = "residual"

    width: PositiveInt = 32
    """Channels of the first stage; each later stage has twice as many."""

    depth: PositiveInt = 2
    """Residual blocks in each stage."""

    stages: Annotated[int, Field(ge=1, le=6)] = 3
    """Groups of blocks; each after the first halves height and width."""

    stem_stride: Annotated[int, Field(ge=1, le=4)] = 1
    """Stride of the first convolution: 2 makes everything after it about four times cheaper."""

    def build(self, shape: tuple[int, ...], classes: int) -> Network:
        """A new module for images ``(channels, height, width)``."""
        channels = image_channels(self.kind, shape)
        body = {
            "stem": convolution(channels, self.width, stride=self.stem_stride),
            "stages": nn.Sequential(*(self._stage(number) for number in range(self.stages))),
            "pool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "head": nn.Linear(self.width * 2 ** (self.stages - 1), classes),
        }
        return Network(self, shape, classes, body)

    def shrunk(self, *, width: float, depth: float) -> Residual:
        """Fewer channels, in multiples of 4, and fewer blocks; the same stages and stem."""
        sizes = {
            "width": scaled(self.width, width, multiple=4),
            "depth": scaled(self.depth, depth, multiple=1),
        }
        return self.model_copy(update=sizes)

    def _stage(self, number: int) -> nn.Sequential:
        after = self.width * 2**number
        before = after if number == 0 else after // 2
        first = _Block(before, after, stride=1 if number == 0 else 2)
        return nn.Sequential(first, *(_Block(after, after, stride=1) for _ in range(self.depth - 1)))


def convolution(before: int, after: int, *, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """A convolution, its normalisation and a ReLU; the image keeps its size but for the stride.

    Args:
        before: Channels in.
        after: Channels out.
        stride: Divides height and width.
        kernel: Height and width of the kernel; odd.
    """
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    )


class _Block(nn.Module):
    """Two convolutions whose answer is added to the input; its last normalisation starts at zero."""

    def __init__(self, before: int, after: int, *, stride: int) -> None:
        super().__init__()
        self.first = convolution(before, after, stride=stride)
        self.second = nn.Sequential(nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after))
        self.shortcut = _shortcut(before, after, stride=stride)
        nn.init.zeros_(self.second.get_submodule("1").get_parameter("weight"))

    def forward(self, inputs: Float[Tensor, "batch before h w"]) -> Float[Tensor, "batch after h2 w2"]:
        return functional.relu(self.second(self.first(inputs)) + self.shortcut(inputs))


def _shortcut(before: int, after: int, *, stride: int) -> nn.Module:
    if before == after and stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
