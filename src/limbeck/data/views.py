"""Views: seeded augmentations of whole batches, each of which can be made again exactly.

A view is a number. What happens to a sample in a view depends on (view seed, view, sample id) alone: not on
the batch it is in, the order, the epoch or the run's seed.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, NonNegativeInt
from torch import Tensor

from limbeck.data.counter import below, hashed, uniform
from limbeck.errors import DataError
from limbeck.types import CLEAN, Frozen


class Augmentation(Frozen):
    """How an image may change without changing its class."""

    shift: NonNegativeInt = 0
    """Largest shift in pixels, along each axis; every whole shift up to it is equally likely."""

    padding: Literal["reflect", "edge"] = "reflect"
    """What a shift brings into the picture: its mirror image, or the outermost pixels again."""

    flip: bool = False
    """Mirror left and right, in half of the views."""

    erase: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Side of a square that is set to 0 (the mean colour), as a share of the picture's; 0: none. Its centre
    is anywhere, so that it is often cut by the border (Cutout, DeVries & Taylor, 2017)."""

    @property
    def changes(self) -> bool:
        """Whether it does anything at all."""
        return self.shift > 0 or self.flip or self.erase > 0


def augment(
    inputs: Float[Tensor, "batch channels height width"],
    ids: Int[Tensor, " batch"],
    views: Int[Tensor, " batch"],
    *,
    augmentation: Augmentation,
    seed: int,
) -> Float[Tensor, "batch channels height width"]:
    """The views of some samples.

    Args:
        inputs: Preprocessed images.
        ids: Their ids.
        views: Which view of each; rows with the view ``CLEAN`` stay as they are.
        augmentation: What may be done.
        seed: The view seed, which is not the run's seed.

    Returns:
        New images of the same shape. Equal arguments give equal bits, in whatever batch a sample stands.

    Raises:
        DataError: If the inputs are not images, or are smaller than the shift.
    """
    if not augmentation.changes:
        return inputs
    _check(inputs, augmentation)
    bits = hashed(seed, views, ids, draws=5)
    clean = (views == CLEAN)[:, None]
    moved = _moved(inputs, bits, clean, augmentation) if augmentation.shift or augmentation.flip else inputs
    return _erased(moved, bits, clean, augmentation.erase) if augmentation.erase else moved


def _check(inputs: Tensor, augmentation: Augmentation) -> None:
    if inputs.dim() != 4:
        raise DataError(
            f"augmentation takes images [batch, channels, height, width], got {list(inputs.shape)}. Remove "
            "the augmentation for data that is not images."
        )
    if augmentation.shift >= min(inputs.shape[2:]):
        raise DataError(
            f"augmentation.shift is {augmentation.shift} pixels, but images are {list(inputs.shape[2:])}; "
            "it must be smaller than their smaller side."
        )


def _moved(inputs: Tensor, bits: Tensor, clean: Tensor, augmentation: Augmentation) -> Tensor:
    """Shift and flip: every output pixel is one input pixel, so one gather does both."""
    count, channels, height, width = inputs.shape
    shift = augmentation.shift
    offsets = (below(bits[:, :2], 2 * shift + 1) - shift).masked_fill(clean, 0)
    rows = _inside(torch.arange(height, device=inputs.device) + offsets[:, :1], height, augmentation.padding)
    columns = torch.arange(width, device=inputs.device).expand(count, width)
    if augmentation.flip:
        flipped = (bits[:, 2:3] & 1).bool() & ~clean
        columns = torch.where(flipped, width - 1 - columns, columns)
    columns = _inside(columns + offsets[:, 1:], width, augmentation.padding)
    index = ((rows * width)[:, :, None] + columns[:, None, :]).view(count, 1, height * width)
    flat = inputs.reshape(count, channels, height * width)
    return flat.gather(2, index.expand(count, channels, height * width)).view_as(inputs)


def _inside(places: Tensor, size: int, padding: str) -> Tensor:
    if padding == "edge":
        return places.clamp(0, size - 1)
    return (size - 1) - ((size - 1) - places.abs()).abs()


def _erased(inputs: Tensor, bits: Tensor, clean: Tensor, share: float) -> Tensor:
    sides = torch.tensor(inputs.shape[2:], device=inputs.device)
    centres = uniform(bits[:, 3:5]) * sides
    half = share / 2 * sides

    def within(axis: int) -> Tensor:
        places = torch.arange(inputs.shape[2 + axis], device=inputs.device) + 0.5
        return (places - centres[:, axis : axis + 1]).abs() < half[axis]

    square = (within(0) & ~clean)[:, None, :, None] & within(1)[:, None, None, :]
    return inputs.masked_fill(square, 0.0)
