"""Channels innermost: the same numbers, and a convolution that answers in that layout, also for grey images."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.models.layout import channels_last


@pytest.mark.parametrize("channels", [1, 3])
def test_a_convolution_answers_with_its_channels_innermost(channels: int) -> None:
    images = torch.rand(2, channels, 8, 8)
    laid = channels_last(images)
    answers = nn.Conv2d(channels, 4, 3)(laid)
    assert torch.equal(laid, images)
    assert answers.is_contiguous(memory_format=torch.channels_last)
    assert not answers.is_contiguous()


def test_slices_of_grey_images_keep_their_numbers() -> None:
    images = torch.rand(4, 3, 8, 10)[:, 1:2, ::2, 3:]
    assert torch.equal(channels_last(images), images)
