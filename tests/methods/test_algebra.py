"""Sums and multiples of methods are methods."""

from __future__ import annotations

import json
from typing import Literal

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.methods import CE, KD, Method, PseudoLabel, Sum, Traced, dump, parse, parts, total
from limbeck.types import ABSENT, CLEAN, Batch, Outputs, Terms, digest

COMPOSED = [
    KD(temperature=4) + 0.1 * CE(),
    CE(label_smoothing=0.1) + PseudoLabel() + KD(),
    KD() + KD(temperature=8) + KD(temperature=1),
]


class Connected(KD):
    """A method with a connector of its own."""

    kind: Literal["kd"] = "kd"

    def init(self, traced: Traced) -> nn.Module | None:
        return nn.Linear(3, 3)

    def deploy(self, student: nn.Module, state: nn.Module | None) -> nn.Module:
        assert isinstance(state, nn.Linear)
        return nn.Sequential(student, state)


def samples() -> tuple[Outputs, Outputs, Batch]:
    student, teacher = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)).unbind()
    labels = torch.tensor([0, ABSENT, 2, ABSENT])
    return (
        Outputs(student),
        Outputs(teacher),
        Batch(torch.arange(4), student, labels, torch.full((4,), CLEAN)),
    )


def loss(method: Method) -> Tensor:
    student, teacher, batch = samples()
    divisors = {name: weights.sum() for name, weights in method.weights(teacher, batch).items()}
    return total(method.loss(student, teacher, batch, None), divisors)


def names(terms: Terms) -> list[str]:
    return list(terms)


@pytest.mark.parametrize("method", COMPOSED, ids=repr)
def test_a_composed_method_comes_back_equal_from_plain_data(method: Method) -> None:
    again = parse(json.loads(json.dumps(dump(method))))
    assert again == method
    assert digest(again) == digest(method)


@pytest.mark.parametrize("method", COMPOSED, ids=repr)
def test_the_loss_of_a_sum_is_the_sum_of_the_losses(method: Method) -> None:
    expected = torch.stack([loss(part) for part in parts(method)]).sum()
    torch.testing.assert_close(loss(method), expected)


def test_any_part_changes_the_digest() -> None:
    sums = [
        KD() + CE(),
        CE() + KD(),
        KD() + CE(weight=0.5),
        KD() + KD(),
        KD() + CE() + CE(),
        KD() + PseudoLabel(),
    ]
    assert len({digest(method) for method in sums}) == len(sums)


def test_python_sums_what_the_plus_adds() -> None:
    assert sum([KD(), CE(), PseudoLabel()]) == KD() + CE() + PseudoLabel()
    assert sum([KD()]) == KD()
    assert sum([CE()], PseudoLabel()) == PseudoLabel() + CE()


def test_brackets_make_no_difference() -> None:
    left, right = (KD() + CE()) + PseudoLabel(), KD() + (CE() + PseudoLabel())
    assert left == right == Sum(methods=(KD() + CE(), PseudoLabel()))
    assert digest(left) == digest(right)
    assert not any(isinstance(part, Sum) for part in parts(left))


def test_a_factor_goes_to_every_part() -> None:
    assert 0.5 * (KD() + CE(weight=0.2)) == KD(weight=0.5) + CE(weight=0.1)
    assert (KD() + CE()) * 2 == 2 * KD() + 2 * CE()
    assert 0.5 * (0.5 * KD(temperature=3)) == KD(temperature=3, weight=0.25)
    torch.testing.assert_close(loss(0.5 * (KD() + CE())), 0.5 * loss(KD() + CE()))


@pytest.mark.parametrize("factor", [-1.0, float("nan"), float("inf")])
def test_a_factor_is_a_finite_number_that_is_not_negative(factor: float) -> None:
    with pytest.raises(ValidationError, match="weight"):
        factor * KD()
    with pytest.raises(ValidationError, match="weight"):
        factor * (KD() + CE())


def test_a_sum_has_no_weight_of_its_own() -> None:
    with pytest.raises(ValidationError, match="weight"):
        Sum.model_validate({"weight": 3.0, "methods": (KD(), CE())})


def test_one_method_twice_keeps_its_terms_apart() -> None:
    student, teacher, batch = samples()
    method = KD(temperature=1) + CE() + KD(temperature=4) + KD(temperature=8)
    terms = method.loss(student, teacher, batch, None)
    assert names(terms) == ["kd", "ce", "kd_2", "kd_3"] == list(method.weights(teacher, batch))
    for name, part in zip(terms, parts(method), strict=True):
        (expected,) = part.loss(student, teacher, batch, None).values()
        assert torch.equal(terms[name].values, expected.values)
        assert terms[name].scale == expected.scale


def test_each_term_is_divided_by_its_own_weight() -> None:
    student, teacher, batch = samples()
    labelled = batch[0:1]
    alone = CE().loss(student[0:1], None, labelled, None)["ce"].values
    last = CE().loss(student[2:3], None, batch[2:3], None)["ce"].values
    kd = KD().loss(student, teacher, batch, None)["kd"]
    expected = (alone + last).sum() / 2 + kd.scale * kd.values.mean()
    torch.testing.assert_close(loss(CE() + KD()), expected)


def test_a_sum_reads_what_any_part_reads() -> None:
    assert (KD() + CE()).reads.teacher
    assert (KD() + CE()).reads.labels == "some"
    assert (KD() + PseudoLabel()).reads.labels == "none"
    assert not (CE() + CE()).reads.teacher


def test_each_part_gets_its_own_connector_and_ships_it() -> None:
    student, teacher, batch = samples()
    traced = Traced(batch, student, teacher, nn.Linear(3, 3))
    method = CE() + Connected() + Connected(temperature=3)
    state = method.init(traced)
    assert isinstance(state, nn.ModuleDict)
    assert len(state) == 2
    shipped = method.deploy(nn.Linear(3, 3), state)
    found = {id(part) for part in shipped.modules()}
    assert {id(part) for part in state.values()} <= found
    assert (KD() + CE()).init(traced) is None


def test_a_method_outside_the_table_composes_but_is_not_written_down() -> None:
    with pytest.raises(MethodError, match="Connected has no name in METHODS"):
        dump(CE() + Connected())
