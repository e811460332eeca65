"""Which files a student is written to, and how closely each must answer as the student does."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from limbeck.types import Frozen

Format = Literal["onnx", "onnx-int8", "pt2", "safetensors"]

FORMATS: Final[tuple[Format, ...]] = ("onnx", "onnx-int8", "pt2", "safetensors")
"""Every format, in the order in which files are written."""


class Exports(Frozen):
    """The files of a run, and the bounds that each is held to."""

    formats: tuple[Format, ...] = FORMATS
    """``onnx`` (fp32) and ``onnx-int8`` take raw inputs in onnxruntime, ``pt2`` in torch; ``safetensors``
    holds the weights alone. Empty writes nothing."""

    calibration_examples: PositiveInt = 512
    """Training samples, without their labels, that the ranges of int8 activations are measured on."""

    int8_agreement: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Least share of held-out samples on which the int8 file must choose the same class as the student; it is refused
    where it falls short by more than chance (2.5 %), so that a few samples do not decide."""

    fp32_error: PositiveFloat = 1e-4
    """Largest difference of a logit allowed in a fp32 file, times the largest logit where that is above 1."""

    @field_validator("formats")
    @classmethod
    def _named_once(cls, formats: tuple[Format, ...]) -> tuple[Format, ...]:
        if len(set(formats)) != len(formats):
            raise ValueError(f"a format is named twice in {list(formats)}; name each once")
        return tuple(format_ for format_ in FORMATS if format_ in formats)
