"""A small convolutional net from noise and classes to images."""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

_SLOPE: Final = 0.2


class Generator(nn.Module):
    """Noise and a class, spread over a quarter of the image's height and width, then doubled twice.

    Args:
        shape: One image: channels, height, width.
        classes: How many there are to ask for.
        noise: How many random numbers make an image.
        width: Channels before the last convolution; twice as many before that.
        bounds: The least and the greatest value of a pixel, each broadcast to ``shape``. None: images are
            standardised over each batch, as data usually are.
    """

    bounds: Tensor | None

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        noise: int,
        width: int,
        bounds: Float[Tensor, "2 ..."] | None = None,
    ) -> None:
        super().__init__()
        channels, height, wide = shape
        self._classes = classes
        self._sizes = [(-(-height // part), -(-wide // part)) for part in (4, 2, 1)]
        rows, columns = self._sizes[0]
        self.start = nn.Sequential(
            nn.Linear(noise + classes, 2 * width * rows * columns, bias=False),
            nn.Unflatten(1, (2 * width, rows, columns)),
            nn.BatchNorm2d(2 * width),
        )
        self.doubled = nn.ModuleList([_convolution(2 * width, 2 * width), _convolution(2 * width, width)])
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        self.standard = nn.BatchNorm2d(channels, affine=False) if bounds is None else nn.Identity()
        self.register_buffer("bounds", bounds)

    def forward(
        self, noise: Float[Tensor, "batch noise"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Images of these classes."""
        chosen = functional.one_hot(labels, self._classes).to(noise.dtype)
        answer = self.start(torch.cat([noise, chosen], 1))
        for size, layer in zip(self._sizes[1:], self.doubled, strict=True):
            answer = layer(functional.interpolate(answer, size=size))
        images: Tensor = self.standard(self.last(answer))
        if self.bounds is None:
            return images
        least, greatest = self.bounds
        within: Tensor = least + (greatest - least) * images.sigmoid()
        return within


def _convolution(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(_SLOPE)
    )
