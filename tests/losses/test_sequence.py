"""The laws of comparing answers to a sequence, against the definition in float64."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import log_softmax, logsumexp, rel_entr, softmax
from torch import Tensor

from limbeck.losses.sequence import frame_kl, frame_weights, sequence_ctc

Select = Literal["all", "non-blank", "symmetric"]


@st.composite
def utterances(draw: st.DrawFn, bound: float = 5.0) -> tuple[Tensor, Tensor, Tensor, int]:
    """Logits of student and teacher, how many frames each utterance has, and the blank."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(2, 3)))
    numbers = arrays.arrays(np.float64, shape, elements=st.floats(-bound, bound))
    lengths = draw(st.lists(st.integers(1, shape[1]), min_size=shape[0], max_size=shape[0]))
    blank = draw(st.integers(0, shape[2] - 1))
    return torch.from_numpy(draw(numbers)), torch.from_numpy(draw(numbers)), torch.tensor(lengths), blank


def collapsed(path: tuple[int, ...], blank: int) -> tuple[int, ...]:
    return tuple(token for token, _ in itertools.groupby(path) if token != blank)


def definition(
    student: Tensor, teacher: Tensor, lengths: Tensor, teacher_lengths: Tensor, blank: int
) -> Tensor:
    """The sum over every path of the student that spells what the teacher's best path spells."""
    values = []
    for row in range(len(student)):
        log_q = log_softmax(student[row, : lengths[row]].numpy(), axis=-1)
        best = teacher[row, : teacher_lengths[row]].numpy().argmax(-1)
        spelled = collapsed(tuple(best.tolist()), blank)
        paths = itertools.product(range(log_q.shape[1]), repeat=len(log_q))
        likelihoods = [
            sum(log_q[frame, token] for frame, token in enumerate(path))
            for path in paths
            if collapsed(path, blank) == spelled
        ]
        values.append(-logsumexp(likelihoods) if likelihoods else np.inf)
    return torch.tensor(values, dtype=torch.float64)


@given(drawn=utterances())
def test_sequence_ctc_equals_the_sum_over_all_paths(drawn: tuple[Tensor, Tensor, Tensor, int]) -> None:
    student, teacher, lengths, blank = drawn
    expected = definition(student, teacher, lengths, lengths, blank)
    found = sequence_ctc(student, teacher, blank=blank, student_lengths=lengths, teacher_lengths=lengths)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    whole = torch.full_like(lengths, student.shape[1])
    expected = definition(student, teacher, whole, whole, blank)
    torch.testing.assert_close(sequence_ctc(student, teacher, blank=blank), expected, rtol=1e-9, atol=1e-9)
    single = sequence_ctc(student.float(), teacher, blank=blank)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-4)


@given(drawn=utterances(), length=st.integers(1, 2))
def test_sequence_ctc_takes_sides_with_different_frames(
    drawn: tuple[Tensor, Tensor, Tensor, int], length: int
) -> None:
    """Infinite where the student has too few frames."""
    student, teacher, lengths, blank = drawn
    shorter = student[:, :length]
    whole = torch.full_like(lengths, shorter.shape[1])
    found = sequence_ctc(shorter, teacher, blank=blank, teacher_lengths=lengths)
    expected = definition(shorter, teacher, whole, lengths, blank)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@given(drawn=utterances(bound=3.0))
def test_sequence_ctc_has_the_gradient_of_its_value(drawn: tuple[Tensor, Tensor, Tensor, int]) -> None:
    student, teacher, lengths, blank = drawn
    assert torch.autograd.gradcheck(
        lambda z: sequence_ctc(z, teacher, blank=blank, student_lengths=lengths, teacher_lengths=lengths),
        [student.clone().requires_grad_()],
    )


@given(drawn=utterances(), shift=st.floats(-50, 50))
def test_sequence_ctc_ignores_a_constant_and_the_scale_of_the_teacher(
    drawn: tuple[Tensor, Tensor, Tensor, int], shift: float
) -> None:
    student, teacher, _, blank = drawn
    expected = sequence_ctc(student, teacher, blank=blank)
    constants = shift * torch.arange(1, student.shape[1] + 1)[:, None]
    moved = sequence_ctc(student + constants, 2 * teacher, blank=blank)
    torch.testing.assert_close(moved, expected, rtol=1e-8, atol=1e-8)


@given(drawn=utterances(), filling=st.floats(-30, 30))
def test_padding_does_not_matter(drawn: tuple[Tensor, Tensor, Tensor, int], filling: float) -> None:
    student, teacher, lengths, blank = drawn
    padding = filling * torch.arange(student.shape[2]).expand(len(student), 2, -1)
    inside = torch.arange(student.shape[1] + 2) < lengths[:, None]
    longer = torch.cat([student, padding], 1).requires_grad_()
    told = torch.cat([teacher, padding], 1)
    found = sequence_ctc(longer, told, blank=blank, student_lengths=lengths, teacher_lengths=lengths)
    expected = sequence_ctc(student, teacher, blank=blank, student_lengths=lengths, teacher_lengths=lengths)
    torch.testing.assert_close(found.detach(), expected)
    (gradient,) = torch.autograd.grad(found.sum(), longer)
    assert torch.isfinite(gradient).all()
    assert (gradient[~inside] == 0).all()
    for select in ("all", "non-blank", "symmetric"):
        weights = frame_weights(told, blank=blank, select=select, neighbourhood=2, lengths=lengths)
        shorter = frame_weights(teacher, blank=blank, select=select, neighbourhood=2, lengths=lengths)
        assert torch.equal(weights[:, : student.shape[1]], shorter)
        assert (weights[~inside] == 0).all()


@given(drawn=utterances())
def test_rows_are_alone(drawn: tuple[Tensor, Tensor, Tensor, int]) -> None:
    student, teacher, lengths, blank = drawn
    whole = sequence_ctc(student, teacher, blank=blank, student_lengths=lengths, teacher_lengths=lengths)
    weights = frame_weights(teacher, blank=blank, lengths=lengths)
    for row in range(len(student)):
        z, t, length = (side[row : row + 1] for side in (student, teacher, lengths))
        alone = sequence_ctc(z, t, blank=blank, student_lengths=length, teacher_lengths=length)
        torch.testing.assert_close(alone, whole[row : row + 1])
        assert torch.equal(frame_weights(t, blank=blank, lengths=length), weights[row : row + 1])


def test_a_silent_teacher_asks_for_blanks() -> None:
    teacher = torch.tensor([5.0, 0.0, 0.0], dtype=torch.float64).expand(2, 4, 3)
    student = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    found = sequence_ctc(student, teacher)
    torch.testing.assert_close(found, -student.log_softmax(-1)[..., 0].sum(-1))
    (gradient,) = torch.autograd.grad(found.sum(), student)
    assert torch.isfinite(gradient).all()
    assert (gradient[..., 0] < 0).all()
    assert (frame_weights(teacher) == 0).all()


def test_a_repeated_token_counts_twice_only_across_a_blank() -> None:
    path = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1], [1, 2, 2, 1]])
    teacher = torch.nn.functional.one_hot(path, 3).double()
    student = torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(0)).double()
    labels = torch.tensor([1, 1, 1, 1, 2, 1])
    expected = torch.nn.functional.ctc_loss(
        student.log_softmax(-1).transpose(0, 1), labels, (4, 4, 4), (2, 1, 3), reduction="none"
    )
    torch.testing.assert_close(sequence_ctc(student, teacher), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_logits_stay_finite(dtype: torch.dtype) -> None:
    rows = [[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [-1e4, 0.0, 1e4], [1e4, 1e4, 1e4]]
    student = torch.tensor([rows, rows[::-1]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([rows[::-1], rows], dtype=dtype)
    for found in (sequence_ctc(student, teacher), frame_kl(student, teacher, temperature=0.5)):
        assert found.dtype == torch.float32
        assert torch.isfinite(found).all()
        (gradient,) = torch.autograd.grad(found.sum(), student)
        assert gradient.dtype == dtype
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@given(drawn=utterances())
def test_half_precision_is_that_of_its_inputs(
    dtype: torch.dtype, drawn: tuple[Tensor, Tensor, Tensor, int]
) -> None:
    half = [side.to(dtype) for side in drawn[:2]]
    wide = [side.double() for side in half]
    for loss in (sequence_ctc, frame_kl):
        torch.testing.assert_close(loss(*half).double(), loss(*wide), rtol=1e-4, atol=1e-4)
    assert torch.equal(frame_weights(half[1]), frame_weights(wide[1]))


@given(drawn=utterances(), temperature=st.sampled_from([0.5, 1.0, 2.0]))
def test_frame_kl_equals_the_definition_in_every_frame(
    drawn: tuple[Tensor, Tensor, Tensor, int], temperature: float
) -> None:
    student, teacher = (side.numpy() / temperature for side in drawn[:2])
    expected = rel_entr(softmax(teacher, axis=-1), softmax(student, axis=-1)).sum(-1)
    found = frame_kl(*drawn[:2], temperature=temperature)
    assert found.shape == drawn[0].shape[:2]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert (frame_kl(drawn[0], drawn[0].clone(), temperature=temperature) == 0).all()


@pytest.mark.parametrize("select", ["all", "non-blank", "symmetric"])
@given(drawn=utterances(), neighbourhood=st.integers(0, 3))
def test_frame_weights_equal_the_definition(
    select: Select, drawn: tuple[Tensor, Tensor, Tensor, int], neighbourhood: int
) -> None:
    _, teacher, lengths, blank = drawn
    reach = {"all": teacher.shape[1], "non-blank": 0, "symmetric": neighbourhood}[select]
    expected = np.zeros(teacher.shape[:2], dtype=np.float32)
    for row, length in enumerate(lengths.tolist()):
        best = teacher[row].numpy().argmax(-1)
        for frame in range(length):
            near = range(max(0, frame - reach), min(length, frame + reach + 1))
            spoken = any(best[other] != blank for other in near)
            expected[row, frame] = select == "all" or spoken
    found = frame_weights(teacher, blank=blank, select=select, neighbourhood=neighbourhood, lengths=lengths)
    assert found.dtype == torch.float32
    assert np.array_equal(found, expected)


def test_symmetric_reaches_to_both_sides_of_every_spoken_frame() -> None:
    best = torch.tensor([[0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0]])
    teacher = torch.nn.functional.one_hot(best, 3).float()
    found = {reach: frame_weights(teacher, neighbourhood=reach).int().tolist()[0] for reach in (0, 1, 2)}
    assert found[0] == [0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0]
    assert found[1] == [0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0]
    assert found[2] == [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    assert frame_weights(teacher, select="all").all()
