"""A loss that compares all samples of a batch is the same loss when the batch is computed in parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.methods import CE, Method, Reads
from limbeck.types import Batch, Outputs, Term, Terms


class Spread(Method):
    """Compares every pair of samples: the mean squared distance of their logits and of an inner layer."""

    family = "test"
    paper = ""
    kind: Literal["spread"] = "spread"

    @property
    def reads(self) -> Reads:
        return Reads(teacher=False, labels="none", coupled=True, student_taps=("0",))

    def init(self, traced):
        return nn.Linear(traced.student.taps["0"].shape[1], 2)

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return {"spread": torch.tensor([float(len(batch) ** 2)])}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        inner = state(student.taps["0"])
        apart = apart_from_each_other(student.logits) + apart_from_each_other(inner)
        pairs = float(len(student.logits) ** 2)
        return {"spread": Term(apart[None] / pairs, apart.new_tensor([pairs]), unit="pair")}


def apart_from_each_other(rows: Tensor) -> Tensor:
    return (rows[:, None] - rows).square().sum()


def trained(bench, method: Method, **settings):
    stream, teacher = bench.batches(), bench.teacher
    factory = settings.pop("factory", bench.plain_mlp)
    slow = {"kind": "sgd", "learning_rate": 0.01}
    state = bench.start(factory, teacher, stream, method=method, optimizer=slow, **settings)
    steps = bench.run(state, stream, teacher)
    return state, [step.loss for step in steps]


@pytest.mark.parametrize("accumulation", [2, 3, 12])
def test_a_gathered_batch_is_the_batch(bench, accumulation: int) -> None:
    method = Spread(weight=0.1) + CE()
    whole, expected = trained(bench, method)
    parts, found = trained(bench, method, accumulation=accumulation, coupled="gather")
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    for party in ("student", "connectors"):
        pairs = zip(getattr(parts, party).parameters(), getattr(whole, party).parameters(), strict=True)
        for one, other in pairs:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_micro_batches_alone_would_be_another_loss(bench) -> None:
    _, expected = trained(bench, Spread())
    stream, teacher = bench.batches(), bench.teacher
    state = bench.start(bench.plain_mlp, teacher, stream, method=Spread())
    batch = stream.batch(0)
    halves = []
    for rows in (slice(0, 6), slice(6, 12)):
        inner = state.student[0](batch.inputs[rows])
        student = Outputs(state.student(batch.inputs[rows]), {"0": inner})
        term = Spread().loss(student, None, batch[rows], state.connectors)["spread"]
        halves.append(float((term.values * term.weights).detach()) / 144)
    assert abs(sum(halves) - expected[0]) > 0.05 * expected[0]


def test_dropout_is_the_same_in_both_passes(bench) -> None:
    first, losses = trained(
        bench, Spread(weight=0.1) + CE(), factory=bench.mlp, accumulation=3, coupled="gather"
    )
    again, same = trained(
        bench, Spread(weight=0.1) + CE(), factory=bench.mlp, accumulation=3, coupled="gather"
    )
    assert losses == same
    for one, other in zip(first.student.parameters(), again.student.parameters(), strict=True):
        assert torch.equal(one, other)


def test_running_statistics_count_a_batch_once(bench) -> None:
    class Coupled(CE):
        @property
        def reads(self) -> Reads:
            return Reads(teacher=False, labels="some", coupled=True)

    stream = bench.batches(images=True)
    with pytest.warns(UserWarning, match="batch normalisation"):
        added = bench.start(bench.cnn, None, stream, method=CE(), accumulation=3)
    with pytest.warns(UserWarning, match="batch normalisation"):
        gathered = bench.start(bench.cnn, None, stream, method=Coupled(), accumulation=3, coupled="gather")
    for state in (added, gathered):
        bench.run(state, stream, None, steps=1)
    assert added.student[1].num_batches_tracked == gathered.student[1].num_batches_tracked == 3
    torch.testing.assert_close(added.student[1].running_mean, gathered.student[1].running_mean)


def test_cut_batches_are_refused_unless_they_are_gathered(bench) -> None:
    with pytest.raises(MethodError, match="coupled: gather"):
        bench.start(bench.plain_mlp, None, bench.batches(), method=Spread(), accumulation=2)
