"""The laws of every divergence, against the definition in float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy.special import log_softmax, rel_entr
from torch import Tensor

from limbeck.losses.divergence import adaptive_kl, alpha_beta, forward_kl, reverse_kl, total_variation
from limbeck.losses.mixtures import jensen_shannon, skew_kl, skew_reverse_kl
from limbeck.losses.probability import log_probs

Divergence = Callable[..., Tensor]
Rows = NDArray[np.float64]


def kl(p: Rows, q: Rows) -> Rows:
    return np.asarray(rel_entr(p, q).sum(-1))


def skewed(p: Rows, q: Rows, share: float = 0.1) -> Rows:
    return kl(p, share * p + (1 - share) * q)


def mixed(p: Rows, q: Rows, share: float) -> Rows:
    middle = share * p + (1 - share) * q
    return share * kl(p, middle) + (1 - share) * kl(q, middle)


def powers(p: Rows, q: Rows, a: float, b: float) -> Rows:
    parts = p**a * q**b - a / (a + b) * p ** (a + b) - b / (a + b) * q ** (a + b)
    return np.asarray(-parts.sum(-1) / (a * b))


def power_alone(p: Rows, q: Rows, a: float) -> Rows:
    return np.asarray((rel_entr(p**a, q**a) - p**a + q**a).sum(-1) / a**2)


def adaptive(p: Rows, q: Rows, mass: float = 0.5) -> Rows:
    values = []
    for row_p, row_q in zip(p, q, strict=True):
        share = head_share(row_p, row_q, mass)
        values.append(share * kl(row_p, row_q) + (1 - share) * kl(row_q, row_p))
    return np.array(values)


def head_share(p: Rows, q: Rows, mass: float = 0.5) -> float:
    first, *others = np.argsort(-p, kind="stable")
    head, held = [first], p[first]
    for index in others:
        held += p[index]
        if held <= mass:
            head.append(index)
    gaps = np.abs(p - q)
    return float(gaps[head].sum() / gaps.sum()) if gaps.any() else 0.5


DEFINITIONS: dict[str, tuple[Divergence, Callable[[Rows, Rows], Rows]]] = {
    "forward_kl": (forward_kl, kl),
    "reverse_kl": (reverse_kl, lambda p, q: kl(q, p)),
    "jensen_shannon": (jensen_shannon, partial(mixed, share=0.5)),
    "jensen_shannon normalised": (
        partial(jensen_shannon, teacher_share=0.1, normalised=True),
        lambda p, q: mixed(p, q, 0.1) / 0.09,
    ),
    "skew_kl": (skew_kl, skewed),
    "skew_reverse_kl": (skew_reverse_kl, lambda p, q: skewed(q, p)),
    "total_variation": (total_variation, lambda p, q: np.maximum(p - q, 0.0).sum(-1)),
    "adaptive_kl": (adaptive_kl, adaptive),
    "alpha_beta": (partial(alpha_beta, teacher_power=0.8, student_power=0.3), partial(powers, a=0.8, b=0.3)),
    "alpha_beta student": (
        partial(alpha_beta, teacher_power=0.2, student_power=0.7),
        partial(powers, a=0.2, b=0.7),
    ),
    "alpha_beta teacher alone": (
        partial(alpha_beta, teacher_power=0.5, student_power=0.0),
        partial(power_alone, a=0.5),
    ),
    "alpha_beta student alone": (
        partial(alpha_beta, teacher_power=0.0, student_power=0.5),
        lambda p, q: power_alone(q, p, 0.5),
    ),
    "alpha_beta none": (
        partial(alpha_beta, teacher_power=0.0, student_power=0.0),
        lambda p, q: (np.log(p / q) ** 2).sum(-1) / 2,
    ),
    "alpha_beta opposite": (
        partial(alpha_beta, teacher_power=0.5, student_power=-0.5),  # the factor is 1/a², not 1/a
        lambda p, q: ((p / q) ** 0.5 - 1 - 0.5 * np.log(p / q)).sum(-1) / 0.5**2,
    ),
}


def divergences(*but: str) -> pytest.MarkDecorator:
    names = [name for name in DEFINITIONS if name not in but]
    return pytest.mark.parametrize("divergence", [DEFINITIONS[name][0] for name in names], ids=names)


every_divergence = divergences()
few = settings(max_examples=15)  # of each law for each divergence
temperatures = st.sampled_from([0.5, 1.0, 2.0, 4.0])


@st.composite
def logit_pairs(draw: st.DrawFn, bound: float = 30.0) -> tuple[Tensor, Tensor]:
    shape = (draw(st.integers(1, 4)), draw(st.integers(2, 6)))
    numbers = arrays.arrays(np.float64, shape, elements=st.floats(-bound, bound))
    return torch.from_numpy(draw(numbers)), torch.from_numpy(draw(numbers))


def random_pair(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, *shape, generator=generator, dtype=torch.float64).unbind()
    return student, teacher


def probabilities(logits: Tensor, temperature: float = 1.0) -> Rows:
    return np.asarray(np.exp(log_softmax(logits.double().numpy() / temperature, axis=-1)))


def is_settled(divergence: Divergence, teacher: Tensor, temperature: float = 1.0) -> bool:
    """Whether rounding cannot move a class into or out of the head, where adaptive KL jumps."""
    if divergence is not adaptive_kl:
        return True
    likely = -np.sort(-probabilities(teacher, temperature), axis=-1)
    held = likely.cumsum(-1)
    last = np.maximum((held <= 0.5).sum(-1, keepdims=True), 1) - 1
    edge = np.take_along_axis(likely, last, -1) - np.take_along_axis(likely, last + 1, -1)
    return bool((np.abs(held - 0.5) > 1e-5).all() and (edge > 1e-5).all())


@pytest.mark.parametrize("name", DEFINITIONS)
@given(pair=logit_pairs(), temperature=temperatures)
def test_equals_the_definition(name: str, pair: tuple[Tensor, Tensor], temperature: float) -> None:
    student, teacher = pair
    divergence, definition = DEFINITIONS[name]
    assume(is_settled(divergence, teacher, temperature))
    expected = definition(probabilities(teacher, temperature), probabilities(student, temperature))
    found = divergence(student, teacher, temperature=temperature)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-9, atol=1e-9)
    single = divergence(student.float(), teacher.float(), temperature=temperature)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), found, rtol=1e-4, atol=1e-4)


@every_divergence
@few
@given(pair=logit_pairs(), temperature=temperatures)
def test_is_not_negative(divergence: Divergence, pair: tuple[Tensor, Tensor], temperature: float) -> None:
    assert (divergence(*pair, temperature=temperature) >= -1e-12).all()


@every_divergence
@few
@given(pair=logit_pairs(), temperature=temperatures)
def test_is_zero_where_both_agree(
    divergence: Divergence, pair: tuple[Tensor, Tensor], temperature: float
) -> None:
    student = pair[0].requires_grad_()
    found = divergence(student, pair[0].detach().clone(), temperature=temperature)
    assert (found == 0).all()
    (slope,) = torch.autograd.grad(found.sum(), student)
    assert (slope.abs() < 1e-12).all()


@every_divergence
@few
@given(pair=logit_pairs(), shift=st.floats(-50, 50))
def test_ignores_a_constant_added_to_the_logits(
    divergence: Divergence, pair: tuple[Tensor, Tensor], shift: float
) -> None:
    student, teacher = pair
    assume(is_settled(divergence, teacher))
    expected = divergence(student, teacher)
    torch.testing.assert_close(divergence(student + shift, teacher), expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(divergence(student, teacher + shift), expected, rtol=1e-8, atol=1e-8)


@divergences("total_variation", "adaptive_kl")
@few
@given(pair=logit_pairs(bound=3.0), temperature=temperatures)
def test_has_the_gradient_of_its_value(
    divergence: Divergence, pair: tuple[Tensor, Tensor], temperature: float
) -> None:
    sides = [side.clone().requires_grad_() for side in pair]
    learned = torch.full((len(pair[0]), 1), temperature, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda s, t, T: divergence(s, t, temperature=T), [*sides, learned], fast_mode=True
    )


@every_divergence
@few
@given(pair=logit_pairs())
def test_an_absent_class_changes_nothing(divergence: Divergence, pair: tuple[Tensor, Tensor]) -> None:
    assume(is_settled(divergence, pair[1]))
    absent = torch.full((len(pair[0]), 1), -torch.inf, dtype=torch.float64)
    student, teacher = (torch.cat([side, absent], -1).requires_grad_() for side in pair)
    temperature = torch.ones(len(absent), 1, dtype=torch.float64, requires_grad=True)
    found = divergence(student, teacher, temperature=temperature)
    torch.testing.assert_close(found.detach(), divergence(*pair))
    found.sum().backward()
    for side in (student, teacher, temperature):
        assert side.grad is not None
        assert torch.isfinite(side.grad).all()
    for side in (student, teacher):
        assert side.grad is not None
        assert (side.grad[:, -1] == 0).all()


@divergences(
    "reverse_kl", "adaptive_kl", "alpha_beta student alone", "alpha_beta none", "alpha_beta opposite"
)
def test_a_class_only_the_teacher_lacks_costs_what_the_student_puts_there(divergence: Divergence) -> None:
    student = torch.tensor([[1.0, 2.0, 3.0, -torch.inf]], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([[1.0, 2.0, -torch.inf, -torch.inf]], dtype=torch.float64)
    definition = next(naive for one, naive in DEFINITIONS.values() if one is divergence)
    found = divergence(student, teacher)
    expected = definition(probabilities(teacher), probabilities(student.detach()))
    torch.testing.assert_close(found.detach(), torch.from_numpy(expected))
    found.backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("divergence", [forward_kl, DEFINITIONS["alpha_beta teacher alone"][0], adaptive_kl])
def test_a_class_only_the_student_lacks_costs_everything(divergence: Divergence) -> None:
    assert divergence(torch.tensor([[1.0, -torch.inf]]), torch.tensor([[1.0, 1.0]])).isposinf().all()


@divergences("alpha_beta none", "alpha_beta opposite")  # these weigh a class more, the less likely it is
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_logits_stay_finite(divergence: Divergence, dtype: torch.dtype) -> None:
    student = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0.0], [-1e4, 1e4, 1e4]], dtype=dtype, requires_grad=True)
    found = divergence(student, teacher, temperature=0.5)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    found.sum().backward()
    for side in (student, teacher):
        assert side.grad is not None
        assert torch.isfinite(side.grad).all()
        assert side.grad.dtype == dtype


def test_alpha_beta_without_powers_stays_finite_at_extreme_logits() -> None:
    sides = [torch.tensor([[1e4, -1e4, sign * 1e4]], requires_grad=True) for sign in (1, -1)]
    found = alpha_beta(*sides, teacher_power=0.0, student_power=0.0)
    assert torch.isfinite(found).all()
    assert all(torch.isfinite(slope).all() for slope in torch.autograd.grad(found.sum(), sides))


@every_divergence
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@few
@given(pair=logit_pairs())
def test_half_precision_is_that_of_its_inputs(
    divergence: Divergence, dtype: torch.dtype, pair: tuple[Tensor, Tensor]
) -> None:
    half = [side.to(dtype) for side in pair]
    assume(is_settled(divergence, half[1]))
    wide = divergence(*(side.double() for side in half))
    torch.testing.assert_close(divergence(*half).double(), wide, rtol=1e-4, atol=1e-4)


@every_divergence
@few
@given(pair=logit_pairs())
def test_rows_are_alone(divergence: Divergence, pair: tuple[Tensor, Tensor]) -> None:
    student, teacher = pair
    apart = [divergence(student[row : row + 1], teacher[row : row + 1]) for row in range(len(student))]
    torch.testing.assert_close(divergence(student, teacher), torch.cat(apart))


@every_divergence
def test_takes_any_batch_shape(divergence: Divergence) -> None:
    student, teacher = random_pair(3, 4, 5)
    flat = divergence(student.flatten(0, 1), teacher.flatten(0, 1))
    torch.testing.assert_close(divergence(student, teacher).flatten(), flat)
    assert divergence(student[0, 0], teacher[0, 0]).shape == ()


@every_divergence
def test_takes_a_temperature_for_each_row(divergence: Divergence) -> None:
    student, teacher = random_pair(3, 5)
    several = torch.tensor([[0.5], [1.0], [4.0]], dtype=torch.float16)
    apart = [
        divergence(s, t, temperature=float(T)) for s, t, T in zip(student, teacher, several, strict=True)
    ]
    torch.testing.assert_close(divergence(student, teacher, temperature=several), torch.stack(apart))
    whole = divergence(student, teacher, temperature=torch.tensor(2.0))
    torch.testing.assert_close(whole, divergence(student, teacher, temperature=2.0))


def test_the_number_format_of_a_temperature_does_not_count() -> None:
    temperature = torch.full((3, 1), 2.0, dtype=torch.float64)
    assert log_probs(torch.zeros(3, 5, dtype=torch.float16), temperature=temperature).dtype == torch.float32


@given(pair=logit_pairs(), temperature=temperatures)
def test_total_variation_keeps_to_pinskers_inequality(
    pair: tuple[Tensor, Tensor], temperature: float
) -> None:
    found = total_variation(*pair, temperature=temperature)
    assert (found <= 1 + 1e-12).all()
    for divergence in (forward_kl, reverse_kl):
        bound = divergence(*pair, temperature=temperature).clamp(min=0).div(2).sqrt()
        assert (found <= bound + 1e-9).all()


def test_the_factor_that_undoes_the_temperature_of_total_variation_is_linear() -> None:
    student, teacher = random_pair(8, 5)
    gaps = (student - teacher) - (student - teacher).mean(-1, keepdim=True)
    limit = gaps.abs().sum(-1) / (2 * 5)
    torch.testing.assert_close(
        1e5 * total_variation(student, teacher, temperature=1e5), limit, rtol=1e-3, atol=0
    )


def test_total_variation_has_the_gradient_of_its_value_away_from_its_kinks() -> None:
    sides = [side.requires_grad_() for side in random_pair(6, 4)]
    gaps = probabilities(sides[0].detach()) - probabilities(sides[1].detach())
    assert (np.abs(gaps) > 1e-4).all()
    assert torch.autograd.gradcheck(total_variation, sides)


def test_no_gradient_flows_through_the_weights_of_adaptive_kl() -> None:
    sides = [side.requires_grad_() for side in random_pair(6, 4)]
    q, p = (probabilities(side.detach()) for side in sides)
    shares = torch.tensor([head_share(*rows) for rows in zip(p, q, strict=True)], dtype=torch.float64)
    fixed = shares * forward_kl(*sides) + (1 - shares) * reverse_kl(*sides)
    expected = torch.autograd.grad(fixed.sum(), sides)
    torch.testing.assert_close(torch.autograd.grad(adaptive_kl(*sides).sum(), sides), expected)


@pytest.mark.parametrize("mass", [0.0, 0.3, 0.9, 1.0])
def test_adaptive_kl_takes_the_mass_of_its_head(mass: float) -> None:
    student, teacher = random_pair(8, 6)
    expected = adaptive(probabilities(teacher), probabilities(student), mass - 1e-9)
    found = adaptive_kl(student, teacher, head_mass=mass - 1e-9)
    torch.testing.assert_close(found, torch.from_numpy(expected))


def test_adaptive_kl_counts_nothing_for_a_direction_without_weight() -> None:
    student = torch.tensor([[80.0, 0.0, -torch.inf]], requires_grad=True)
    teacher = torch.tensor(
        [[80.0, -1.0, 0.0]]
    )  # the head agrees in fp32; the student lacks a class of the tail
    found = adaptive_kl(student, teacher)
    torch.testing.assert_close(found, reverse_kl(student, teacher))
    found.backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


@given(pair=logit_pairs())
def test_alpha_beta_holds_both_kls_and_the_hellinger_distance(pair: tuple[Tensor, Tensor]) -> None:
    student, teacher = pair
    q, p = probabilities(student), probabilities(teacher)
    hellinger = torch.from_numpy(2 * ((np.sqrt(p) - np.sqrt(q)) ** 2).sum(-1))
    for expected, powers in (
        (forward_kl(student, teacher), (1.0, 0.0)),
        (reverse_kl(student, teacher), (0.0, 1.0)),
        (hellinger, (0.5, 0.5)),
    ):
        found = alpha_beta(student, teacher, teacher_power=powers[0], student_power=powers[1])
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("limit", "near"),
    [
        ((0.5, 0.0), (0.5, 1e-6)),
        ((0.5, 0.0), (0.5, -1e-6)),
        ((0.0, 0.7), (1e-6, 0.7)),
        ((0.0, 0.0), (1e-6, 2e-6)),
        ((0.5, -0.5), (0.5, -0.5 + 1e-6)),
        ((-0.7, 0.7), (-0.7, 0.7 - 1e-6)),
        ((0.5, -0.3), (0.5 + 1e-6, -0.3)),
    ],
)
def test_alpha_beta_is_continuous_in_its_powers(
    limit: tuple[float, float], near: tuple[float, float]
) -> None:
    pair = random_pair(8, 6)
    at, beside = (alpha_beta(*pair, teacher_power=a, student_power=b) for a, b in (limit, near))
    torch.testing.assert_close(beside, at, rtol=1e-4, atol=1e-6)
