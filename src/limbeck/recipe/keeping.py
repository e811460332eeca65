"""What of a teacher's answers is stored: a number format for all logits, or a kind that keeps a few classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from limbeck.teachers.store import DenseAnswers, SampledAnswers, TopKAnswers, TopKSampledAnswers
from limbeck.teachers.store.kinds import Kind
from limbeck.teachers.store.packing import Dtype
from limbeck.types import Frozen

_FORMATS: Final = ("float32", "float16", "int8")
_KINDS: Final = ("dense", "top-k", "top-k-sampled", "sampled")


def _form(value: Any) -> str | None:
    if isinstance(value, str):
        return "format" if value in _FORMATS else None
    kind = (
        value.kind if isinstance(value, Kind) else value.get("kind") if isinstance(value, Mapping) else None
    )
    return kind if kind in _KINDS else None


Kept = Annotated[
    Annotated[Literal["float32", "float16", "int8"], Tag("format")]
    | Annotated[DenseAnswers, Tag("dense")]
    | Annotated[TopKAnswers, Tag("top-k")]
    | Annotated[TopKSampledAnswers, Tag("top-k-sampled")]
    | Annotated[SampledAnswers, Tag("sampled")],
    Discriminator(
        _form,
        custom_error_type="keep",
        custom_error_message="must be 'float32', 'float16' or 'int8' for all logits, or a map with a kind: 'dense', "
        "'top-k', 'top-k-sampled' or 'sampled'",
    ),
]


def _listed(value: Any) -> Any:
    """Refuse one place where several are expected, before pydantic takes a text apart into letters."""
    if isinstance(value, (str, Mapping)):
        raise PydanticCustomError("list_type", "Input should be a list")
    return value


class Taps(Frozen):
    """Layers of the teacher that are stored beside its answers, for methods that compare inner layers."""

    places: Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_listed)]
    """Which: paths as ``limbeck layers`` lists them, patterns, ``penultimate``, ``stages``, ``stage:2``."""

    dtype: Dtype = "float16"
    """``float32``, ``float16``, or ``int8``: eight bits, with a scale and an offset for each sample and layer."""


def kind_of(kept: Kept) -> DenseAnswers | TopKAnswers | TopKSampledAnswers | SampledAnswers:
    """The kind that a recipe names."""
    return DenseAnswers(dtype=kept) if isinstance(kept, str) else kept
