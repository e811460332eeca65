"""What one record of a store holds: an answer of one kind, and taps beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Final

import numpy as np
import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from limbeck.errors import TeacherError
from limbeck.teachers.acceptance import check_finite
from limbeck.teachers.store.kinds import DenseAnswers, Embeddings, Features, Kind, Values
from limbeck.teachers.store.packing import Records
from limbeck.teachers.store.sparse_kinds import SampledAnswers, TopKAnswers, TopKSampledAnswers
from limbeck.teachers.store.text import Text
from limbeck.types import Frozen, Outputs

KINDS: Final[Mapping[str, type[Kind]]] = {
    "dense": DenseAnswers,
    "embeddings": Embeddings,
    "sampled": SampledAnswers,
    "text": Text,
    "top-k": TopKAnswers,
    "top-k-sampled": TopKSampledAnswers,
    "values": Values,
}

AnyKind = Annotated[
    DenseAnswers | Embeddings | SampledAnswers | Text | TopKAnswers | TopKSampledAnswers | Values,
    Field(discriminator="kind"),
]

ANSWER: Final = "answer"
"""The part of a record that holds the answer."""

_WORDS: Final = ("float32", "float16", "int8")


class Keep(Frozen):
    """What is kept of each answer."""

    answers: AnyKind = DenseAnswers()
    """The kind of the answers."""

    taps: tuple[Features, ...] = ()
    """Layers of the teacher that are kept beside them."""

    @property
    def names(self) -> tuple[str, ...]:
        """The taps' names."""
        return tuple(tap.name for tap in self.taps)

    def layout(self, classes: int) -> np.dtype[np.void]:
        """A record: the fields of the answer, then those of each tap, little-endian and without padding.

        Args:
            classes: Numbers that the teacher gives an example.
        """
        parts = [(ANSWER, self.answers.layout(classes))]
        return np.dtype([*parts, *((tap.name, tap.packing.layout) for tap in self.taps)])

    def encode(self, outputs: Outputs, ids: Int[Tensor, " batch"], view: int) -> Records:
        """The records of some answers.

        Args:
            outputs: float32 on the CPU, finite, with every tap.
            ids: Of the samples.
            view: Which view of them the teacher saw.

        Raises:
            TeacherError: If the number format cannot hold a number.
        """
        classes = 0 if outputs.dense is None else outputs.dense.shape[1]
        records = np.zeros(len(ids), self.layout(classes))
        records[ANSWER] = self.answers.encode(outputs, ids, view)
        for tap in self.taps:
            records[tap.name] = tap.packing.pack(outputs.taps[tap.name])
        self._check_fits(self.decode(records, classes), ids)
        return records

    def decode(
        self, records: Records | Mapping[str, Records], classes: int, taps: Sequence[str] | None = None
    ) -> Outputs:
        """What is kept of some answers.

        Args:
            records: Of :meth:`layout`, or its parts by name.
            classes: Numbers that the teacher gives an example.
            taps: Which taps; by default all.
        """
        outputs = self.answers.decode(records[ANSWER], classes)
        if not self.taps:
            return outputs
        wanted = [tap for tap in self.taps if taps is None or tap.name in taps]
        features = {tap.name: tap.packing.unpack(records[tap.name]) for tap in wanted}
        return replace(outputs, taps=features)

    def _check_fits(self, kept: Outputs, ids: Tensor) -> None:
        cure = "Set teacher.keep to float32, or to int8, which has a scale for each answer."
        if kept.dense is not None and isinstance(self.answers, (DenseAnswers, Values, Embeddings)):
            self._check(kept.dense, ids, "The teacher's answers", self.answers.dtype, cure)
        for tap in self.taps:
            cure = "Set teacher.keep_taps.dtype to float32, or to int8, which has a scale for each sample."
            self._check(kept.taps[tap.name].flatten(1), ids, f"The teacher's {tap.name}", tap.dtype, cure)

    def _check(self, kept: Tensor, ids: Tensor, owner: str, dtype: str, cure: str) -> None:
        if dtype != "float16":
            return
        largest = torch.finfo(torch.float16).max
        check_finite(kept, ids, owner=f"{owner}, kept as {dtype} (up to {largest:g}),", cure=cure)


def keep_of(kept: Keep | Kind | str) -> Keep:
    """What is to be kept, from a number format of dense logits, a kind, or the whole.

    Raises:
        TeacherError: If it is none of these.
    """
    if isinstance(kept, Keep):
        return kept
    if isinstance(kept, Kind):
        return Keep.model_validate({"answers": kept})
    if kept not in _WORDS:
        raise TeacherError(
            f"keep must be {', '.join(map(repr, _WORDS))}, a kind ({', '.join(KINDS)}) or a Keep, got {kept!r}."
        )
    return Keep.model_validate({"answers": {"kind": "dense", "dtype": kept}})
