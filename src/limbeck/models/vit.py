"""A transformer on the patches of an image."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from limbeck.errors import ModelError
from limbeck.models.architecture import Architecture, Network, image_channels, scaled

_HEAD_WIDTH = 16


class ViT(Architecture):
    """Square patches as tokens, blocks of self-attention and a two-layer net, the mean of all tokens at the end.

    Normalisation stands before each part (pre-norm); there is no class token. Queries, keys and values are layers of
    their own, so that methods can read them.

    References:
        Dosovitskiy et al., `An Image is Worth 16x16 Words <https://arxiv.org/abs/2010.11929>`_, 2021.
        Beyer, Zhai & Kolesnikov, `Better plain ViT baselines for ImageNet-1k
        <https://arxiv.org/abs/2205.01580>`_, 2022 (mean of the tokens).
    """

    kind: Literal["vit"] = "vit"

    width: Annotated[int, Field(ge=_HEAD_WIDTH, multiple_of=_HEAD_WIDTH)] = 64
    """Numbers in a token: a multiple of 16, the width of an attention head."""

    depth: PositiveInt = 4
    """Blocks."""

    patch: PositiveInt = 4
    """Height and width of a patch in pixels; both sides of the image must be multiples of it."""

    def build(self, shape: tuple[int, ...], classes: int) -> Network:
        """A new module for images ``(channels, height, width)``."""
        channels = image_channels(self.kind, shape)
        if shape[1] % self.patch or shape[2] % self.patch:
            raise ModelError(
                f"a model of kind 'vit' cuts images into patches of {self.patch} pixels, and {shape[1]} x {shape[2]} "
                "is no multiple of it. Choose another patch, or another preprocessing.size."
            )
        count = (shape[1] // self.patch) * (shape[2] // self.patch)
        body: dict[str, nn.Module] = {
            "patches": _Patches(channels, self.width, self.patch, count),
            "blocks": nn.Sequential(*(_Block(self.width) for _ in range(self.depth))),
            "norm": nn.LayerNorm(self.width),
            "pool": _Mean(),
            "head": nn.Linear(self.width, classes),
        }
        return Network(self, shape, classes, body)

    def shrunk(self, *, width: float, depth: float) -> ViT:
        """Narrower tokens, in multiples of 16, and fewer blocks; the same patches."""
        sizes = {
            "width": scaled(self.width, width, multiple=_HEAD_WIDTH),
            "depth": scaled(self.depth, depth, multiple=1),
        }
        return self.model_copy(update=sizes)


class _Patches(nn.Module):
    """From an image to tokens, each with a learned place."""

    def __init__(self, channels: int, width: int, patch: int, count: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, width, patch, patch)
        self.place = nn.Parameter(0.02 * torch.randn(1, count, width))

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch tokens d"]:
        tokens: Tensor = self.project(images).flatten(2).transpose(1, 2) + self.place
        return tokens


class _Attention(nn.Module):
    """Self-attention with queries, keys and values as layers of their own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self._heads = width // _HEAD_WIDTH

    def forward(self, tokens: Float[Tensor, "batch tokens d"]) -> Float[Tensor, "batch tokens d"]:
        parts = (layer(tokens) for layer in (self.query, self.key, self.value))
        count, length, _ = tokens.shape
        query, key, value = (
            part.view(count, length, self._heads, _HEAD_WIDTH).transpose(1, 2) for part in parts
        )
        # not the fused kernel: its backward pass in bfloat16 takes 16 times as long on a CPU
        scores = (query @ key.transpose(2, 3)).float() * _HEAD_WIDTH**-0.5
        mixed = scores.softmax(3).to(value.dtype) @ value
        answer: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return answer


class _Block(nn.Module):
    """Attention and a two-layer net, each added to what it reads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = _Attention(width)
        self.net = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Float[Tensor, "batch tokens d"]) -> Float[Tensor, "batch tokens d"]:
        mixed = tokens + self.attention(self.norm(tokens))
        answer: Tensor = mixed + self.net(mixed)
        return answer


class _Mean(nn.Module):
    """The mean of all tokens."""

    def forward(self, tokens: Float[Tensor, "batch tokens d"]) -> Float[Tensor, "batch d"]:
        return tokens.mean(1)
