"""What a teacher wrote, as UTF-8 in records of one width."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from limbeck.errors import TeacherError
from limbeck.teachers.store.kinds import Kind
from limbeck.teachers.store.packing import Records
from limbeck.types import Outputs


class Text(Kind):
    """One text a sample."""

    distribution: ClassVar[bool] = False
    unit: ClassVar[str] = "texts that differ"

    kind: Literal["text"] = "text"

    max_bytes: Annotated[int, Field(gt=0, le=2**20)] = 1024
    """Bytes that are set aside for each text; a longer one is refused, never cut."""

    def layout(self, classes: int) -> np.dtype[np.void]:
        return np.dtype([("bytes", "<u4"), ("text", "u1", (self.max_bytes,))])

    def encode(self, answers: Outputs, ids: Tensor, view: int) -> Records:
        """The texts, one a record, filled up with zeros.

        Raises:
            TeacherError: If one is longer than what is set aside for it.
        """
        each = [text.encode() for text in written(answers)]
        records = np.zeros(len(each), self.layout(0))
        for record, sample, text in zip(records, ids.tolist(), each, strict=True):
            if len(text) > self.max_bytes:
                raise TeacherError(
                    f"The teacher's text for sample {sample} has {len(text):,} bytes, and the store sets "
                    f"{self.max_bytes:,} aside for each. Set max_bytes={len(text)} or more."
                )
            record["bytes"] = len(text)
            record["text"][: len(text)] = np.frombuffer(text, np.uint8)
        return records

    def decode(self, records: Records, classes: int) -> Outputs:
        texts = zip(records["bytes"].tolist(), np.ascontiguousarray(records["text"]), strict=True)
        return Outputs(None, text=tuple(text[:count].tobytes().decode() for count, text in texts))

    def difference(self, held: Outputs, new: Outputs, ids: Tensor, view: int) -> Tensor:
        pairs = zip(written(held), written(new), strict=True)
        return torch.tensor([float(there != here) for there, here in pairs])

    def allowed(self, new: Outputs) -> float:
        return 0.0

    def bound(self, answers: Outputs) -> float:
        return 0.0


def written(answers: Outputs) -> tuple[str, ...]:
    """The texts of some answers.

    Raises:
        TeacherError: If they are no texts.
    """
    if answers.text is None:
        raise TeacherError(
            "Texts are to be kept, and the teacher answers with numbers. Keep its logits (float16)."
        )
    return answers.text
