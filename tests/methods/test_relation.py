"""What each method on the relations of samples means."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from limbeck.errors import MethodError
from limbeck.losses.similarity import probabilistic_transfer
from limbeck.methods import (
    Alignment,
    Congruence,
    Contrastive,
    ContrastiveBank,
    Neighbours,
    Relational,
    Similarity,
)
from limbeck.methods.connectors import as_rows
from limbeck.methods.pairs import Coupled
from limbeck.types import Outputs

METHODS = [Relational(), Similarity(), Neighbours(), Congruence(), Alignment(pairs="penultimate")]


def rotated(made) -> Outputs:
    """The teacher's answers, its features turned by a random rotation."""
    _, teacher = made.answers()
    turned = {}
    for name, tap in teacher.taps.items():
        rows = as_rows(tap)
        basis, _ = torch.linalg.qr(torch.randn(rows.shape[1], rows.shape[1], dtype=rows.dtype))
        turned[name] = rows @ basis
    return Outputs(teacher.logits, turned)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.kind)
def test_axes_do_not_matter(method: Coupled, case) -> None:
    torch.manual_seed(0)
    made = case(method.model_copy(update={"pairs": "penultimate"}))
    student, teacher = made.answers()
    plain, turned = (
        made.method.loss(student, side, made.batch, None)[method.kind].values
        for side in (teacher, rotated(made))
    )
    torch.testing.assert_close(plain, turned, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.kind)
def test_the_order_of_the_samples_does_not_matter_but_who_is_there_does(method: Coupled, case) -> None:
    made = case(method)
    order = torch.randperm(len(made.batch), generator=torch.Generator().manual_seed(1))
    student, teacher = made.answers()

    def value(rows: torch.Tensor) -> torch.Tensor:
        ours, theirs = (
            Outputs(side.logits[rows], {name: tap[rows] for name, tap in side.taps.items()})
            for side in (student, teacher)
        )
        return made.method.loss(ours, theirs, made.batch, None)[method.kind].values

    torch.testing.assert_close(value(order), value(torch.arange(8)))
    assert not torch.allclose(value(order[:6]), value(torch.arange(8)), rtol=1e-3, atol=0)


def test_a_coupled_term_weighs_its_pairs(case) -> None:
    made = case(Relational())
    assert made.method.reads.coupled
    assert made.method.weights(None, made.batch)["relational"].tolist() == [28.0]


def test_angles_that_count_nothing_are_not_computed(case, monkeypatch) -> None:
    monkeypatch.setattr("limbeck.methods.relational.angle_relation", None)
    assert case(Relational(angle_weight=0.0)).loss().isfinite()


def test_neighbours_are_averaged_over_samples_and_not_over_pairs(case) -> None:
    made = case(Neighbours())
    student, teacher = made.answers()
    expected = probabilistic_transfer(student.taps["head@in"], teacher.taps["head@in"]).mean()
    torch.testing.assert_close(made.loss(), expected)


def test_two_samples_are_too_few_for_the_debiased_alignment(case) -> None:
    made = case(Alignment())
    assert made.loss(made.batch[:3]) == 0
    assert made.loss() > 0


def test_equal_embeddings_cannot_be_told_apart(case) -> None:
    made = case(Contrastive())
    for side in ("student", "teacher"):
        made.state[side].weight.data.zero_()
    torch.testing.assert_close(made.loss(), torch.tensor(math.log(8), dtype=torch.float64))


def test_a_bank_holds_a_unit_vector_for_every_sample_and_moves_those_it_saw(case) -> None:
    made = case(ContrastiveBank(negatives=16, momentum=0.25))
    bank = made.state
    assert bank.student.shape == (64, 128)
    before = bank.teacher.clone()
    _, theirs = made.method.embedded(*made.answers(), bank)
    made.loss()
    seen = functional.normalize(theirs.detach())
    expected = functional.normalize(0.25 * before[:8] + 0.75 * seen)
    torch.testing.assert_close(bank.teacher[:8], expected)
    assert torch.equal(bank.teacher[8:], before[8:])


def test_the_normalising_constants_are_those_of_the_first_batch_and_are_saved(case) -> None:
    made = case(ContrastiveBank(negatives=16))
    assert not made.state.frozen.any()
    made.loss()
    constants = made.state.log_partition.clone()
    made.loss()
    assert torch.equal(made.state.log_partition, constants)
    assert {"log_partition", "frozen", "student", "teacher", "ids"} <= set(made.state.state_dict())


def test_a_bank_knows_its_samples(case) -> None:
    made = case(ContrastiveBank(negatives=16))
    made.batch.ids[3] = 7
    with pytest.raises(MethodError, match="not there when its bank was made"):
        made.loss()
