"""From a raw sample to what a model takes: data of the recipe, which travels with the student."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from limbeck.data.source import Source
from limbeck.errors import DataError
from limbeck.types import Frozen

_MODES: Final = {"grey": "L", "rgb": "RGB"}
_CHANNELS: Final = {"grey": 1, "rgb": 3}
_BYTE: Final = np.float32(1 / 255)


class Preprocessing(Frozen):
    """How raw samples become model inputs. What is null is measured on the training pool."""

    kind: Literal["image", "features"] = "image"
    """``image``: uint8 [n, height, width, channels] becomes float32 [n, channels, height, width], divided by
    255 and standardised per channel. ``features``: floating point, standardised along the first axis of a
    sample (features of a row, channels of a float image)."""

    size: tuple[PositiveInt, PositiveInt] | None = None
    """Height and width in pixels that image files are resized to; null: they must all have one size."""

    colour: Literal["grey", "rgb"] | None = None
    """What image files are converted to; null: as the first one is."""

    mean: Annotated[tuple[float, ...], Field(min_length=1)] | None = None
    """Subtracted, per channel or feature (images: after the division by 255)."""

    std: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] | None = None
    """Divided by, per channel or feature."""

    @model_validator(mode="after")
    def _agree(self) -> Preprocessing:
        if self.mean and self.std and len(self.mean) != len(self.std):
            raise ValueError(
                f"mean has {len(self.mean)} values and std has {len(self.std)}; expected equally many"
            )
        return self

    def fitted(self, source: Source) -> Preprocessing:
        """The same with every null filled in: size and colour from the samples, mean and std measured.

        Args:
            source: The training pool.

        Raises:
            DataError: If the samples do not fit what is already filled in.
        """
        self._check(source)
        filled: dict[str, Any] = {}
        if self.kind == "image":
            height, width, channels = source.shape
            filled = {"size": (height, width), "colour": "grey" if channels == 1 else "rgb"}
        if self.mean is None or self.std is None:
            mean, std = _moments(source, self.kind)
            filled |= {"mean": self.mean or mean, "std": self.std or std}
        return Preprocessing.model_validate(self.model_dump() | filled)

    def shape(self, raw: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one model input, for raw samples of shape ``raw``."""
        return (raw[2], raw[0], raw[1]) if self.kind == "image" else raw

    def apply(self, raw: Tensor) -> Tensor:
        """Model inputs for raw samples.

        Args:
            raw: ``[n, height, width, channels]`` uint8, or ``[n, features, ...]`` floating point.

        Returns:
            float32 ``[n, channels, height, width]`` or ``[n, features, ...]``, contiguous.
        """
        mean, std = self._constants(raw.dim())
        return _standardised(self._channels_first(raw), mean.to(raw.device), std.to(raw.device))

    def raw(self, inputs: Tensor) -> Tensor:
        """The raw samples nearest to some model inputs, where :meth:`apply` undoes it: for inputs that were made.

        Args:
            inputs: ``[n, channels, height, width]`` or ``[n, features, ...]``, as :meth:`apply` gives them.

        Returns:
            ``[n, height, width, channels]`` uint8, rounded and cut off at black and white; or float32
            ``[n, features, ...]``.
        """
        mean, std = (constant.to(inputs.device) for constant in self._constants(inputs.dim()))
        plain = inputs.to(torch.float32) * std + mean
        if self.kind == "features":
            return plain
        levels = (plain * 255).round().clamp(0, 255).to(torch.uint8)
        return levels.permute(0, 2, 3, 1).contiguous()

    def numpy(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """:meth:`apply` without torch, for whoever serves the student."""
        mean, std = (constant.numpy() for constant in self._constants(raw.ndim))
        plain = np.asarray(raw, dtype=np.float32)
        if self.kind == "image":
            plain = np.ascontiguousarray(plain.transpose(0, 3, 1, 2)) * _BYTE
        result: NDArray[np.float32] = (plain - mean) / std
        return result

    def module(self) -> nn.Module:
        """:meth:`apply` as a module that can be exported in front of a student."""
        dims = 4 if self.kind == "image" else 2
        return _Preprocess(*self._constants(dims), image=self.kind == "image")

    def decode(self, image: Path | str | Image.Image | NDArray[Any]) -> NDArray[np.uint8]:
        """One image as a raw sample: converted to the colour and resized (bilinear) where these are set.

        Args:
            image: A file, a Pillow image, or a uint8 array [height, width] or [height, width, channels].

        Returns:
            uint8 [height, width, channels].

        Raises:
            DataError: If it cannot be read; the message names it.
        """
        if isinstance(image, (str, Path)):
            return self._decode_file(Path(image))
        if isinstance(image, np.ndarray):
            image = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image)
        if image.mode.startswith("I;16"):  # Pillow would clip sixteen bits instead of scaling them
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        colour = self.colour or ("grey" if image.mode in ("1", "L", "I", "F") else "rgb")
        picture = image.convert(_MODES[colour])
        if self.size is not None and picture.size != (self.size[1], self.size[0]):
            picture = picture.resize((self.size[1], self.size[0]), Image.Resampling.BILINEAR)
        plain = np.asarray(picture, dtype=np.uint8)
        return plain[..., None] if plain.ndim == 2 else plain

    def _decode_file(self, path: Path) -> NDArray[np.uint8]:
        try:
            with Image.open(path) as picture:
                return self.decode(picture)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(
                f"{path} cannot be read as an image ({type(error).__name__}: {error}). Repair or remove "
                "it, or set on_bad: skip."
            ) from error

    def _constants(self, dims: int) -> tuple[Tensor, Tensor]:
        if self.mean is None or self.std is None:
            raise DataError("preprocessing.mean and std are not known yet; call fitted(training pool) first.")
        shape = (1, -1, *[1] * (dims - 2))
        return torch.tensor(self.mean).reshape(shape), torch.tensor(self.std).reshape(shape)

    def _channels_first(self, raw: Tensor) -> Tensor:
        if self.kind == "features":
            return raw.to(torch.float32)
        return raw.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format) * float(_BYTE)

    def _check(self, source: Source) -> None:
        image = source.dtype == torch.uint8
        if image != (self.kind == "image"):
            expected = "uint8 images" if self.kind == "image" else "floating-point samples"
            cure = "features" if self.kind == "image" else "image"
            raise DataError(
                f"preprocessing.kind is {self.kind!r}, which takes {expected}, but {source.name} holds "
                f"{source.dtype}. Set preprocessing.kind to {cure!r} or convert the data."
            )
        if image and (len(source.shape) != 3 or source.shape[2] not in (1, 3)):
            raise DataError(
                f"{source.name}: images must be [height, width, 1 or 3 channels], got "
                f"{list(source.shape)}. Move the channels to the end."
            )
        self._check_filled(source)

    def _check_filled(self, source: Source) -> None:
        if self.kind == "image" and self.size is not None and source.shape[:2] != self.size:
            raise DataError(
                f"preprocessing.size is {self.size} but {source.name} holds images of {source.shape[:2]}. "
                "Only image files are resized: set size to null or resize the arrays."
            )
        channels = source.shape[2] if self.kind == "image" else source.shape[0]
        if self.kind == "image" and self.colour is not None and _CHANNELS[self.colour] != channels:
            raise DataError(
                f"preprocessing.colour is {self.colour!r} but {source.name} has {channels} channels. Only "
                "image files are converted: set colour to null or convert the arrays."
            )
        for field, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) not in (1, channels):
                raise DataError(
                    f"preprocessing.{field} has {len(values)} values, but {source.name} has {channels} "
                    "channels or features; give as many, or one for all, or null to have them measured."
                )


class _Preprocess(nn.Module):
    """Raw samples to model inputs, with the constants as buffers."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor, *, image: bool) -> None:
        super().__init__()
        self.image = image
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, raw: Tensor) -> Tensor:
        plain = raw.to(torch.float32)
        if self.image:
            return _standardised(plain.permute(0, 3, 1, 2).contiguous() * float(_BYTE), self.mean, self.std)
        shape = (1, -1, *[1] * (plain.dim() - 2))
        return _standardised(plain, self.mean.reshape(shape), self.std.reshape(shape))


def _standardised(plain: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return (plain - mean) / std


def _moments(source: Source, kind: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel or feature, to six digits; a constant one gets a std of 1."""
    total = square = torch.zeros(1, dtype=torch.float64)
    count = 0
    for rows in source.chunks():
        columns = _columns(source.raw(rows), kind)
        total = total + columns.sum(0, dtype=torch.float64)
        square = square + (columns * columns).sum(0, dtype=torch.float64)
        count += len(columns)
    scale = 255.0 if kind == "image" else 1.0
    mean = total / count
    variance = square / count - mean * mean
    varies = variance > 1e-12 * mean * mean  # below that it is the rounding of a constant
    std = torch.where(varies, variance.clamp_min(0).sqrt() / scale, 1.0)
    return tuple(_rounded(mean / scale)), tuple(value or 1.0 for value in _rounded(std))


def _columns(raw: Tensor, kind: str) -> Tensor:
    """One column a channel or feature; float32 holds the squares of bytes exactly."""
    if kind == "image":
        return raw.to(torch.float32).flatten(0, 2)
    return raw.to(torch.float64).movedim(1, -1).flatten(0, -2)


def _rounded(values: Tensor) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]
