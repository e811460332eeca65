"""Automatic balance of terms by the size of their gradients, after GradNorm (Chen et al., 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.methods.base import Reads, Traced, total
from limbeck.methods.ce import CE
from limbeck.methods.clock import Clock
from limbeck.methods.kd import KD
from limbeck.methods.states import kept
from limbeck.methods.wrapping import AnyMethod, Modifier, own
from limbeck.types import Batch, Outputs, Terms


class Balance(Modifier):
    r"""Give each term its share of the gradient, so that nobody tunes weights that lie far apart.

    .. math:: L = \sum_i m_i L_i, \quad m_i = \frac{r_i}{r_1} \frac{\| \nabla L_1 \|}{\| \nabla L_i \|}

    with the shares :math:`r`, all alike unless they are given. The first term keeps its size, and with it the
    learning rate its meaning; the others are multiplied so that the norms of the gradients at the student's weights
    stand to each other as the shares do. Their own weights no longer matter. The norms are measured every
    ``every_steps`` on the batch of that step (its first micro-batch), at the cost of a backward pass for each term,
    and averaged on a logarithmic scale. The paper instead moves the weights by a gradient of their own, and gives
    more to the terms that fall more slowly.

    Helps:
        Where terms of unlike sizes meet and there is no time to tune their weights.

    Costs:
        A backward pass for each term in one of ``every_steps`` steps.

    References:
        Chen, Badrinarayanan, Lee & Rabinovich, `GradNorm <https://arxiv.org/abs/1711.02257>`_, 2018, section
        3.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1711.02257"

    kind: Literal["balance"] = "balance"
    of: Annotated[AnyMethod, Field(json_schema_extra={"default": {"kd": {}, "ce": {}}})] = KD() + CE()
    """The methods whose terms are balanced; the first term keeps its size."""
    shares: dict[str, PositiveFloat] | None = None
    """How large each term's gradient is to be against the others', by the names of the terms; null: all alike."""
    every_steps: PositiveInt = 50
    """Steps between two measurements; the first step has the first."""
    memory: Annotated[float, Field(ge=0, lt=1)] = 0.8
    """How much of the average over the earlier measurements is kept at the next one; 0 keeps none."""

    @property
    def reads(self) -> Reads:
        return self.of.reads  # the terms alone are changed, so few classes do where they do for the terms

    def remembers(self, traced: Traced) -> nn.Module:
        names = list(self.of.weights(traced.teacher, traced.batch))
        if len(names) < 2:
            raise MethodError(f"balance needs at least two terms, got {', '.join(names)}. Take it away.")
        shares = dict.fromkeys(names, 1.0) if self.shares is None else self.shares
        if set(shares) != set(names):
            raise MethodError(
                f"balance.shares names {', '.join(shares) or 'no term'}, expected each of {', '.join(names)}. "
                "Give each term a share, or none."
            )
        return _Multipliers([shares[name] for name in names])

    def changed(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None
    ) -> Terms:
        terms = super().changed(student, teacher, batch, state)
        held = kept(self, own(state), _Multipliers)
        if student.pull is not None and held.due(self.every_steps):
            parts = [total({name: term}, {name: term.weights.sum()}) for name, term in terms.items()]
            if any(part.requires_grad for part in parts):
                held.follow([student.pull(part) for part in parts], memory=self.memory)
        return {
            name: replace(term, values=term.values * factor.to(term.values.dtype))
            for (name, term), factor in zip(terms.items(), held.multipliers, strict=True)
        }


class _Multipliers(nn.Module):
    """What each term is multiplied by, from the average of what was measured.

    Args:
        shares: The wanted size of each term's gradient, up to a factor.
    """

    multipliers: Tensor
    measurements: Tensor
    wanted: Tensor

    def __init__(self, shares: Sequence[float]) -> None:
        super().__init__()
        self.clock = Clock()
        self.measured: int | None = None
        self.register_buffer("multipliers", torch.ones(len(shares)))
        self.register_buffer("measurements", torch.zeros(len(shares)))
        self.register_buffer("wanted", torch.tensor(shares) / shares[0], persistent=False)

    def due(self, every_steps: int) -> bool:
        """Whether this step is to be measured and has not been."""
        return self.clock.step % every_steps == 0 and self.measured != self.clock.step

    @torch.no_grad()
    def follow(self, norms: Sequence[Tensor], *, memory: float) -> None:
        """Move the multipliers to where the norms, without them, would have the wanted shares.

        A term without a gradient (no sample of the batch has a label) keeps its multiplier; where it is the first,
        all do.
        """
        self.measured = self.clock.step
        found = torch.stack(list(norms)).to(self.multipliers.dtype)
        seen = (found > 0) & found.isfinite()
        seen = seen & seen[0]
        target = torch.where(seen, self.wanted * found[0] / found, self.multipliers)
        rate = (1 / (self.measurements + 1)).clamp(min=1 - memory)
        self.multipliers.copy_((self.multipliers.log().lerp(target.log(), rate)).exp())
        self.measurements += seen.to(self.measurements.dtype)
