"""Through the teacher's head: features that the teacher's classifier reads as its own (Yang et al., 2021)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.losses.hint import squared_hint
from limbeck.methods.base import Reads, Traced, Weight, answered
from limbeck.methods.connectors import connector
from limbeck.methods.pairs import PairedMethod, Pairs
from limbeck.methods.states import kept
from limbeck.taps import INPUT
from limbeck.types import Batch, Outputs, Term, Terms


class HeadRegression(PairedMethod):
    """Match the teacher's penultimate features, and what the teacher's own head makes of the student's.

    A small difference in a direction that the head does not read costs nothing in the second term. The head is
    frozen; it and the connector are dropped at the end. Compares logits, so the two sides need the same classes.

    Helps:
        Where both sides have the same classes and a good teacher's head is worth imitating.

    Costs:
        A trained map and a pass of the teacher's head, both dropped at the end. It needs the teacher's
        module.

    References:
        Yang, Martinez, Bulat & Tzimiropoulos, `Knowledge Distillation via Softmax Regression Representation
        Learning <https://openreview.net/forum?id=ZzwDy_wiWv>`_, 2021.
    """

    family: ClassVar[str] = "feature"
    paper: ClassVar[str] = "https://openreview.net/forum?id=ZzwDy_wiWv"

    kind: Literal["head-regression"] = "head-regression"

    pairs: Pairs = "penultimate"
    """Which features are compared: ``penultimate``, or one pair of inputs of the last linear layers."""

    feature_weight: Weight = 1.0
    """Of the difference of the features."""

    logit_weight: Weight = 1.0
    """Of the difference of the logits that the teacher's head makes."""

    @property
    def reads(self) -> Reads:
        return replace(super().reads, few=None)  # its second term compares whole logits

    def init(self, traced: Traced) -> nn.Module | None:
        place = self.named[0].teacher
        if len(self.named) != 1 or not place.endswith(INPUT) or traced.teacher_model is None:
            raise MethodError(
                f"head-regression needs one pair, of what the last linear layers take, got {self.pairs!r}. Take "
                "pairs: penultimate."
            )
        ours, theirs = next(self.features(traced.student, traced.teacher))
        head = copy.deepcopy(traced.teacher_model.get_submodule(place.removesuffix(INPUT))).requires_grad_(
            False
        )
        return nn.ModuleDict({"connect": connector(tuple(ours.shape), tuple(theirs.shape)), "head": head})

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        each = torch.ones(len(batch), device=batch.labels.device)
        return {"head-regression-features": each, "head-regression-logits": each}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        answers = answered(self, teacher)
        ours, theirs = next(self.features(student, answers))
        parts = kept(self, state, nn.ModuleDict)
        features: Tensor = parts["connect"](ours)
        values = squared_hint(features, theirs)
        logits = squared_hint(parts["head"](features), answers.logits)
        each = torch.ones_like(values)
        return {
            "head-regression-features": Term(values, each, scale=self.weight * self.feature_weight),
            "head-regression-logits": Term(logits, each, scale=self.weight * self.logit_weight),
        }
