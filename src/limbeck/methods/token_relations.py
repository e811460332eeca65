"""Relations of tokens: which tokens resemble which, in queries, keys or values (Wang et al., 2021)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveInt
from torch import Tensor

from limbeck.losses.tokens import relation_kl
from limbeck.methods.connectors import as_tokens
from limbeck.methods.pairs import Compared, Pairs


class TokenRelations(Compared):
    """Relate the tokens of a sample to each other as the teacher does, in relation heads of any width.

    MiniLMv2 where the pairs are the queries, keys and values of one attention layer on each side: ``pairs: [{student:
    "queries:-1", teacher: "queries:-1"}, ...]``. Other features work too; maps are read as tokens. Nothing is trained
    beside the student, and the widths may differ. Costs the square of the tokens.

    Helps:
        Between transformers of unlike widths and numbers of heads.

    Costs:
        The square of the tokens in each pair and relation head; no parameters. The teacher runs along, unless
        its layers are stored (``teacher.keep_taps``).

    References:
        Wang, Bao, Huang, Dong & Wei, `MiniLMv2 <https://arxiv.org/abs/2012.15828>`_, 2021. It takes the last
        layer of the student, and an upper middle one of a teacher with 24 layers.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2012.15828"

    kind: Literal["token-relations"] = "token-relations"

    pairs: Pairs = "last"
    """Which layers are compared: ``last``, ``stages``, ``penultimate``, or a list of {student, teacher}."""

    relation_heads: PositiveInt = 4
    """Into how many equal parts both widths are cut; must divide both."""

    def values(self, student: Tensor, teacher: Tensor) -> Tensor:
        theirs = _tokens(teacher)
        return relation_kl(as_tokens(student, theirs.shape[1]), theirs, relation_heads=self.relation_heads)


def _tokens(features: Tensor) -> Tensor:
    """Maps row by row, tokens as they are, rows as one token."""
    count = features.shape[2] * features.shape[3] if features.ndim == 4 else 1
    return features if features.ndim == 3 else as_tokens(features, count)
