"""Samples as images that a page carries in itself."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limbeck.errors import DataError

_CHANNELS = (1, 3, 4)  # grey, RGB, RGBA


def data_uris(pictures: NDArray[Any] | None, expected: int) -> list[str | None]:
    """One PNG data URI a picture; None for each where there are no pictures.

    Args:
        pictures: uint8 ``[n, height, width, channels]``; other than 1, 3 or 4 channels cannot be shown.
        expected: How many there must be.

    Raises:
        DataError: If the array has another shape or type.
    """
    if pictures is None:
        return [None] * expected
    if pictures.dtype != np.uint8 or pictures.ndim != 4:
        raise DataError(
            f"pictures are {pictures.dtype} {list(pictures.shape)}; "
            "expected uint8 [n, height, width, channels]."
        )
    if len(pictures) != expected:
        raise DataError(f"there are {len(pictures)} pictures for {expected} lost samples; expected one each.")
    if pictures.shape[3] not in _CHANNELS:
        return [None] * expected  # nothing that a reader could recognise
    return [_data_uri(picture) for picture in pictures]


def _data_uri(picture: NDArray[Any]) -> str:
    file = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
