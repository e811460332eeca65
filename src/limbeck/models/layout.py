"""Memory layout: channels innermost, so that torch sees it."""

from __future__ import annotations

import torch
from torch import Tensor


def channels_last(images: Tensor) -> Tensor:
    """Images or weights ``[n, channels, height, width]`` with the channels innermost; copied where need be.

    With one channel both layouts are the same bytes, and torch takes them for the other one, in which it then
    computes the first convolution and what follows it: here the strides say which is meant.
    """
    if images.shape[1] != 1:
        return images.contiguous(memory_format=torch.channels_last)
    _, _, height, width = images.shape
    return images.contiguous().as_strided(images.shape, (height * width, 1, width, 1))
