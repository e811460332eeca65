"""Numbers in few bytes: fp32, fp16, or eight bits with a scale and an offset for each record."""

from __future__ import annotations

import math
from typing import Any, Final, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from limbeck.types import Frozen

Dtype = Literal["float32", "float16", "int8"]
Records = NDArray[Any]

_LEVELS: Final = 254
_ABSENT: Final = 255
_HALF_UNIT: Final[dict[str, float]] = {"float32": 0.0, "float16": 2.0**-11, "int8": 2.0**-21}
_SMALLEST: Final = 2.0**-25


class Packing(Frozen):
    """How one array of numbers a record is written.

    In eight bits a number is ``offset + scale * level`` with levels from 0 to 254, 0 for the record's smallest finite
    number and 254 for its largest; level 255 stands for minus infinity, a class that is not there.
    """

    name: str
    """Of the field that holds the numbers."""

    dtype: Dtype
    """``float32``, ``float16``, or ``int8`` for eight bits."""

    shape: tuple[int, ...]
    """Of one record's numbers."""

    @property
    def layout(self) -> np.dtype[np.void]:
        """The fields of a record, little-endian, without padding."""
        if self.dtype != "int8":
            return np.dtype([(self.name, "<f4" if self.dtype == "float32" else "<f2", self.shape)])
        return np.dtype([("offset", "<f4"), ("scale", "<f4"), (self.name, "u1", self.shape)])

    def pack(self, numbers: Float[Tensor, "batch ..."]) -> Records:
        """Records of some numbers; what fp16 cannot hold becomes infinite, which the caller refuses."""
        records = np.zeros(len(numbers), self.layout)
        if self.dtype != "int8":
            kept = numbers.half() if self.dtype == "float16" else numbers
            records[self.name] = kept.numpy()
            return records
        flat = numbers.double().reshape(len(numbers), -1)
        finite = flat.isfinite()
        least = flat.masked_fill(~finite, torch.inf).amin(1, keepdim=True)
        least = torch.where(least.isfinite(), least, 0.0).float().double()
        largest = flat.masked_fill(~finite, -torch.inf).amax(1, keepdim=True)
        scale = ((largest - least).clamp(min=0.0).nan_to_num(0.0) / _LEVELS).float().double()
        levels = ((flat - least) / torch.where(scale > 0, scale, 1.0)).round().clamp(0, _LEVELS)
        records["offset"], records["scale"] = least[:, 0].numpy(), scale[:, 0].numpy()
        records[self.name] = levels.masked_fill(~finite, _ABSENT).byte().reshape(numbers.shape).numpy()
        return records

    def unpack(self, records: Records) -> Float[Tensor, "batch ..."]:
        """The numbers of some records, as float32."""
        held = column(records, self.name)
        if self.dtype != "int8":
            return held.float()
        ones = (-1, *[1] * len(self.shape))
        offset, scale = (column(records, name).reshape(ones) for name in ("offset", "scale"))
        numbers = held.float().mul_(scale).add_(offset)
        return numbers.masked_fill_(held == _ABSENT, -torch.inf)

    def bound(self, numbers: Tensor) -> float:
        """The largest difference that writing and reading these numbers can make.

        fp16: 2**-11 of a number, half a unit in its last place. Eight bits: half a level, 1/508 of the range of the
        record, and 2**-21 of a number for the arithmetic. Numbers below 6e-5 lose up to 2**-25 in fp16.
        """
        flat = numbers.double().reshape(len(numbers), -1)
        finite = flat.masked_fill(~flat.isfinite(), 0.0)
        lost = float(finite.abs().max()) * _HALF_UNIT[self.dtype] if flat.numel() else 0.0
        if self.dtype == "float16":
            return max(lost, _SMALLEST)
        if self.dtype == "float32":
            return lost
        low = flat.masked_fill(~flat.isfinite(), torch.inf).amin(1)
        high = flat.masked_fill(~flat.isfinite(), -torch.inf).amax(1)
        widest = float((high - low).clamp(min=0.0).max()) if flat.numel() else 0.0
        return lost + widest / (2 * _LEVELS)

    @property
    def itemsize(self) -> int:
        """Bytes a record."""
        return int(self.layout.itemsize)

    @property
    def numbers(self) -> int:
        """Numbers a record."""
        return math.prod(self.shape)


def column(records: Records, name: str) -> Tensor:
    """One field of some records as a tensor; one copy where other fields lie between."""
    held: NDArray[Any] = np.ascontiguousarray(records[name])
    return torch.from_numpy(held)


def whole_numbers(records: Records, name: str) -> Tensor:
    """One field of unsigned whole numbers as int64."""
    return torch.from_numpy(records[name].astype(np.int64))
