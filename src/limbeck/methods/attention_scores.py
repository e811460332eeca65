"""Attention scores: what each token of a transformer looks at (Jiao et al., 2020)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.losses.geometry import products
from limbeck.losses.tokens import attention_score_error
from limbeck.methods.base import Reads, answered
from limbeck.methods.pairs import Averaged, Pairs
from limbeck.taps import keys_beside
from limbeck.types import Outputs


class AttentionScores(Averaged):
    """Look at the same tokens as the teacher: match the attention scores before the softmax, head by head.

    They are made from the queries and the keys beside them, because fast attention shows no scores. Both models
    need as many heads and as many tokens. TinyBERT is this and ``hint`` with ``normalise: none``, and then ``kd``
    at a temperature of 1.

    Helps:
        Between transformers with equal numbers of heads and tokens, before or beside a method on
        answers.

    Costs:
        The square of the tokens in each pair and head; no parameters. The teacher runs along, unless its
        layers are stored (``teacher.keep_taps``).

    References:
        Jiao, Yin, Shang, Jiang, Chen, Li, Wang & Liu, `TinyBERT <https://arxiv.org/abs/1909.10351>`_, 2020,
        section 3.1.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1909.10351"

    kind: Literal["attention-scores"] = "attention-scores"

    pairs: Pairs = "queries"
    """Which layers' queries are compared: ``queries``, or a list of {student, teacher}."""

    heads: PositiveInt = 2
    """Attention heads of both models."""

    @property
    def reads(self) -> Reads:
        found = super().reads
        return replace(
            found,
            student_taps=(*found.student_taps, *map(keys_beside, found.student_taps)),
            teacher_taps=(*found.teacher_taps, *map(keys_beside, found.teacher_taps)),
        )

    def each(self, student: Outputs, teacher: Outputs | None, state: nn.Module | None) -> Iterator[Tensor]:
        theirs = answered(self, teacher).taps
        for pair in self.named:
            ours = self._scores(student.taps[pair.student], student.taps[keys_beside(pair.student)])
            yield attention_score_error(
                ours, self._scores(theirs[pair.teacher], theirs[keys_beside(pair.teacher)])
            )

    def _scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        count, tokens, width = queries.shape
        if width % self.heads:
            raise MethodError(
                f"attention-scores.heads is {self.heads}, and the attention is {width} wide, expected a "
                "divisor of it. Give the number of heads that both models have."
            )
        size = width // self.heads
        asked, offered = (
            part.reshape(count, tokens, self.heads, size).transpose(1, 2) for part in (queries, keys)
        )
        return products(asked, offered) / math.sqrt(size)
