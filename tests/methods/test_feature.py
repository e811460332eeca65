"""What each method on inner layers means."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from limbeck.errors import MethodError
from limbeck.methods import (
    KD,
    AttentionScores,
    AttentionTransfer,
    HeadRegression,
    HiddenCosine,
    Hint,
    Masked,
    Overhaul,
    Pair,
    Patient,
    Reuse,
    Review,
    TokenRelations,
    Variational,
)
from limbeck.methods.pairs import PairedMethod
from limbeck.taps import layers

ONE = Pair(student="stages.1", teacher="stages.1")


def test_stages_are_paired_and_the_pairs_stand_in_the_bound_method(case) -> None:
    made = case(AttentionTransfer())
    assert made.method.pairs == (Pair(student="stages.0", teacher="stages.0"), ONE)
    assert made.method.reads.student_taps == ("stages.0", "stages.1")


def test_a_pair_may_name_several_layers_and_as_many_of_the_teacher(case) -> None:
    made = case(AttentionTransfer(pairs=[{"student": "stages.*", "teacher": "stages.*"}]))
    assert len(made.method.pairs) == 2
    with pytest.raises(MethodError, match="names 2 layers of the student and 1"):
        case(AttentionTransfer(pairs=[{"student": "stages.*", "teacher": "stages.1"}]))


def test_a_teacher_without_a_module_is_refused_before_anything_is_asked(case) -> None:
    made = case(KD())
    found = layers(made.student, made.batch.inputs)
    with pytest.raises(MethodError, match="inner layers"):
        Hint().bind(found, None)


@pytest.mark.parametrize(
    "method", [AttentionTransfer(), TokenRelations(relation_heads=1)], ids=lambda m: m.kind
)
def test_a_student_like_its_teacher_has_nothing_to_learn(method: PairedMethod, case) -> None:
    made = case(method)
    made.student = copy.deepcopy(made.teacher)
    assert made.loss().abs() < 1e-12


def test_a_hint_is_the_mean_square_after_the_connector(case) -> None:
    made = case(Hint(normalise="none", pairs=(ONE,)))
    student, teacher = made.answers()
    projected = made.state[0](student.taps["stages.1"])
    expected = (projected - teacher.taps["stages.1"]).square().mean()
    torch.testing.assert_close(made.loss(), expected)


def test_a_normalised_hint_does_not_know_the_teachers_scale(case) -> None:
    made = case(Hint(pairs=(ONE,)))
    student, teacher = made.answers()
    louder = copy.copy(teacher)
    object.__setattr__(louder, "taps", {"stages.1": 100 * teacher.taps["stages.1"]})
    values = [
        made.method.loss(student, side, made.batch, made.state)["hint"].values for side in (teacher, louder)
    ]
    torch.testing.assert_close(*values, rtol=1e-4, atol=1e-5)


def test_cosine_and_patient_do_not_know_the_length_of_a_vector(case) -> None:
    for method in (HiddenCosine(pairs=(ONE,)), Patient(pairs=(ONE,))):
        made = case(method)
        student, teacher = made.answers()
        longer = copy.copy(teacher)
        object.__setattr__(longer, "taps", {"stages.1": 7 * teacher.taps["stages.1"]})
        values = [
            made.method.loss(student, side, made.batch, made.state)[method.kind].values
            for side in (teacher, longer)
        ]
        torch.testing.assert_close(*values)


def test_the_variances_are_trained_like_everything_else(run) -> None:
    state = run.start(Variational())
    scales = {name for name, _ in state.connectors.named_parameters() if name.endswith("scale")}
    assert len(scales) == 2
    optimised = {id(each) for group in state.optimizer.param_groups for each in group["params"]}
    assert all(id(state.connectors.get_parameter(name)) in optimised for name in scales)
    assert all(
        torch.allclose(predictor.variance(), torch.tensor(5.0), atol=1e-4) for predictor in state.connectors
    )


def test_overhaul_reads_before_a_relu_and_its_margins_come_from_the_normalisation(case) -> None:
    made = case(Overhaul())
    assert [pair.teacher for pair in made.method.pairs] == ["stages.0.0.first.1", "stages.1.0.first.1"]
    norm = made.teacher.get_submodule("stages.1.0.first.1")
    draws = norm.bias + norm.weight.abs() * torch.randn(
        200_000, len(norm.bias), generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    columns = list(draws.T.detach())
    often = [number for number, column in enumerate(columns) if (column < 0).sum() > 1000]
    assert len(often) > 4
    expected = torch.stack([columns[number][columns[number] < 0].mean() for number in often])
    torch.testing.assert_close(made.state[1].margin[often], expected, rtol=0.05, atol=0.005)


def test_a_review_hands_on_from_deep_to_shallow(case) -> None:
    made = case(Review())
    student, teacher = made.answers()
    deepest = student.taps["stages.1"]
    object.__setattr__(
        student,
        "taps",
        {"stages.0": student.taps["stages.0"].detach(), "stages.1": deepest.detach().requires_grad_()},
    )
    first = list(made.method.each(student, teacher, made.state))[-1]
    (gradient,) = torch.autograd.grad(first.sum(), student.taps["stages.1"])
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("mask", ["channels", "places"])
def test_masked_features_are_another_choice_each_time(case, mask: str) -> None:
    made = case(Masked(mask=mask, masked_share=0.5))
    torch.manual_seed(0)
    first, second = made.loss(), made.loss()
    torch.manual_seed(0)
    assert torch.equal(first, made.loss())
    assert not torch.equal(first, second)


def test_the_head_of_head_regression_is_the_teachers_and_frozen(case) -> None:
    made = case(HeadRegression())
    head = made.teacher.get_submodule("head")
    assert torch.equal(made.state["head"].weight, head.weight)
    assert made.state["head"].weight is not head.weight
    assert not made.state["head"].weight.requires_grad
    student, teacher = made.answers()
    projected = made.state["connect"](student.taps["head@in"])
    terms = made.method.loss(student, teacher, made.batch, made.state)
    expected = (head(projected) - teacher.logits).square().mean(1)
    torch.testing.assert_close(terms["head-regression-logits"].values, expected)


def test_what_reuse_ships_is_the_student_the_connector_and_the_rest_of_the_teacher(case) -> None:
    made = case(Reuse())
    shipped = made.method.deploy(made.student, made.state).eval()
    features = made.student.get_submodule("stages")(made.student.get_submodule("stem")(made.batch.inputs))
    expected = features
    for name in ("pool", "flatten", "head"):
        expected = made.teacher.get_submodule(name)(
            made.state["connect"](features) if name == "pool" else expected
        )
    torch.testing.assert_close(shipped(made.batch.inputs), expected)


def test_a_perfect_connector_makes_reuse_the_teacher(case) -> None:
    made = case(Reuse())
    made.student = copy.deepcopy(made.teacher)
    made.state["connect"] = nn.Identity()
    assert made.loss() == 0
    shipped = made.method.deploy(made.student, made.state)
    torch.testing.assert_close(shipped(made.batch.inputs), made.teacher(made.batch.inputs))


def test_attention_scores_are_those_that_the_attention_uses(case) -> None:
    made = case(AttentionScores(heads=1))
    student, teacher = made.answers()
    (pair,) = made.method.pairs
    assert (pair.student, pair.teacher) == ("blocks.0.attention.query", "blocks.1.attention.query")
    found = []
    for answers, place in ((student, pair.student), (teacher, pair.teacher)):
        queries, keys = answers.taps[place], answers.taps[place.replace("query", "key")]
        found.append(queries @ keys.transpose(1, 2) / queries.shape[2] ** 0.5)
    expected = (found[0] - found[1]).square().mean()
    torch.testing.assert_close(made.loss(), expected)
    with pytest.raises(MethodError, match="heads is 3"):
        case(AttentionScores(heads=3)).loss()
