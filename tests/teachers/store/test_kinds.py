"""What each kind keeps is what it says it keeps, in the bytes that it says, off by no more than it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limbeck.errors import TeacherError
from limbeck.losses.sparse import sampled_cross_entropy
from limbeck.teachers.store import (
    DenseAnswers,
    Embeddings,
    Features,
    Keep,
    SampledAnswers,
    Text,
    TopKAnswers,
    TopKSampledAnswers,
    Values,
)
from limbeck.teachers.store.keeping import KINDS, keep_of
from limbeck.teachers.store.kept_error import joined, kept_error
from limbeck.types import CLEAN, Few, Outputs, Sparse

IDS = torch.tensor([5, 2**62 + 3, 77])
WHOLE = [
    DenseAnswers(dtype="float32"), DenseAnswers(), DenseAnswers(dtype="int8"), DenseAnswers(of="probabilities"),
    DenseAnswers(of="probabilities", dtype="int8"), Values(dtype="float32"), Values(dtype="int8"), Embeddings(),
]  # fmt: skip
FEW = [
    TopKAnswers(k=3),
    TopKSampledAnswers(k=2, draws=4),
    SampledAnswers(draws=6),
    SampledAnswers(draws=6, draw_temperature=2.0),
]


def answers(seed: int, classes: int, size: float) -> Tensor:
    return size * torch.randn(len(IDS), classes, generator=torch.Generator().manual_seed(seed))


def written(kind: Any, logits: Tensor, view: int = CLEAN) -> Outputs:
    records = kind.encode(Outputs(logits), IDS, view)
    assert records.dtype == kind.layout(logits.shape[1])
    return kind.decode(records, logits.shape[1])


def sparse(kind: Any, logits: Tensor, view: int = CLEAN) -> Sparse:
    found = written(kind, logits, view).sparse
    assert found is not None
    return found


@pytest.mark.parametrize("kind", WHOLE, ids=str)
@given(seed=st.integers(0, 99), classes=st.sampled_from([1, 2, 10]), size=st.sampled_from([1e-3, 1.0, 1e4]))
@settings(max_examples=20)
def test_whole_answers_come_back_within_the_stated_bound(
    kind: Any, seed: int, classes: int, size: float
) -> None:
    logits = answers(seed, classes, size)
    off = kind.difference(written(kind, logits), Outputs(logits), IDS, CLEAN)
    assert float(off.max()) <= kind.bound(Outputs(logits)) <= kind.allowed(Outputs(logits))
    if kind.dtype == "float32" and not (isinstance(kind, DenseAnswers) and kind.of == "probabilities"):
        assert torch.equal(written(kind, logits).logits, logits)


@pytest.mark.parametrize("kind", FEW[:2], ids=str)
@given(seed=st.integers(0, 99), classes=st.sampled_from([1, 2, 3, 10]), size=st.sampled_from([1.0, 1e4]))
@settings(max_examples=20)
def test_the_likeliest_come_back_within_the_stated_bound_and_the_tail_is_all_the_rest(
    kind: Any, seed: int, classes: int, size: float
) -> None:
    logits = answers(seed, classes, size)
    off = kind.difference(written(kind, logits), Outputs(logits), IDS, CLEAN)
    assert float(off.max()) <= kind.bound(Outputs(logits))
    found = sparse(kind, logits)
    assert found.classes.shape[1] == min(kind.k, classes)
    left = 1 - logits.softmax(1).gather(1, found.classes).double().sum(1)
    torch.testing.assert_close(found.tail.exp().double(), left, atol=1e-3, rtol=0)
    if classes <= kind.k:
        assert found.tail.isneginf().all()


@pytest.mark.parametrize("kind", [*WHOLE[:3], *FEW], ids=str)
def test_a_class_that_is_not_there_stays_away(kind: Any) -> None:
    logits = torch.tensor([[-torch.inf, 1e4, -1e4, 3.0]]).expand(3, 4)
    found = written(kind, logits)
    if found.sparse is None:
        assert found.logits[:, 0].isneginf().all()
        assert torch.isfinite(found.logits[:, 1:]).all()
    else:
        assert not (found.sparse.drawn == 0).any()
        assert found.sparse.log_probs[found.sparse.classes == 0].isneginf().all()


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (Keep(answers=DenseAnswers(dtype="float32")), 4 * 1000),
        (Keep(), 2 * 1000),
        (Keep(answers=DenseAnswers(dtype="int8")), 8 + 1000),
        (Keep(answers=TopKAnswers(k=16)), 16 * (2 + 2) + 2),
        (Keep(answers=SampledAnswers(draws=50)), 50 * 2),
        (Keep(answers=SampledAnswers(draws=50, draw_temperature=2.0)), 50 * (2 + 4)),
        (Keep(answers=TopKSampledAnswers(k=16, draws=8)), 16 * (2 + 2) + 2 + 8 * 2),
        (Keep(taps=(Features(name="a", shape=(4, 3, 3), dtype="int8"),)), 2000 + 8 + 36),
    ],
    ids=str,
)
def test_an_answer_takes_the_bytes_that_one_counts_by_hand(keep: Keep, expected: int) -> None:
    assert keep.layout(1000).itemsize == expected


def test_more_than_65536_classes_take_four_bytes_each() -> None:
    assert TopKAnswers(k=1).unit_bytes(65536) == 2 + 2 + 2
    assert TopKAnswers(k=1).unit_bytes(65537) == 4 + 2 + 2
    logits = torch.zeros(3, 65537)
    logits[:, 65536] = 20.0
    assert sparse(TopKAnswers(k=1), logits).classes.tolist() == [[65536]] * 3


def test_draws_depend_on_seed_view_and_sample_alone() -> None:
    logits = answers(0, 50, 1.0)
    kind = SampledAnswers(draws=40)
    whole = sparse(kind, logits).drawn
    turned = kind.decode(kind.encode(Outputs(logits.flip(0)), IDS.flip(0), CLEAN), 50).sparse
    assert turned is not None
    assert torch.equal(turned.drawn.flip(0), whole)
    assert not torch.equal(sparse(kind, logits, 1).drawn, whole)
    assert not torch.equal(sparse(SampledAnswers(draws=40, seed=1), logits).drawn, whole)
    same = logits[:1].expand(3, 50)
    assert not torch.equal(sparse(kind, same).drawn[0], sparse(kind, same).drawn[1])


@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.7])
@pytest.mark.parametrize("k", [0, 3])
def test_on_average_over_seeds_and_samples_loss_and_gradient_are_those_of_the_whole_answer(
    k: int, temperature: float
) -> None:
    """Within five standard errors of the mean, and what rounding the kept log-probabilities makes, in each class."""
    one, other = answers(1, 8, 1.0)[:1], answers(2, 8, 1.0)[:1].double()
    whole = one.double().softmax(1)
    expected = -(whole * other.log_softmax(1)).sum(1)
    slope = other.softmax(1) - whole
    ids, losses, gradients = torch.arange(600), [], []
    for seed in range(4):
        drawing = {"draws": 6, "draw_temperature": temperature, "seed": seed}
        kind = TopKSampledAnswers(k=k, **drawing) if k else SampledAnswers(**drawing)
        found = kind.decode(kind.encode(Outputs(one.expand(600, 8)), ids, CLEAN), 8).sparse
        assert found is not None
        student = other.expand(600, 8).clone().requires_grad_()
        classes = torch.cat([found.classes, found.drawn], 1)
        weights = torch.cat([found.log_probs.exp(), found.weights], 1).double()
        loss = sampled_cross_entropy(student, classes, weights)
        losses.append(loss.detach())
        gradients.append(torch.autograd.grad(loss.sum(), student)[0])
    for each, wanted in ((torch.cat(losses)[:, None], expected), (torch.cat(gradients), slope)):
        error = each.std(0) / len(each) ** 0.5
        assert ((each.mean(0) - wanted).abs() <= 5 * error + 1e-4).all()
        assert float(error.max()) < 0.05


def test_exact_classes_make_the_variance_smaller() -> None:
    teacher = 2 * answers(1, 100, 1.0)

    def spread(make: Any) -> float:
        each = []
        for seed in range(100):
            found = sparse(make(seed), teacher)
            masses = torch.zeros(3, 100).scatter_add_(1, found.drawn, found.weights)
            each.append(masses.scatter(1, found.classes, found.log_probs.exp()))
        return float(torch.stack(each).var(0).sum())

    drawn = spread(lambda seed: SampledAnswers(draws=16, seed=seed))
    assert spread(lambda seed: TopKSampledAnswers(k=8, draws=8, seed=seed)) < 0.5 * drawn


@pytest.mark.parametrize("kind", [*WHOLE, *FEW], ids=str)
def test_what_it_costs_is_measured_on_the_answers(kind: Any) -> None:
    logits = answers(3, 10, 2.0)
    keep = Keep(answers=kind)
    error = kept_error(keep, Outputs(logits), written(kind, logits))
    assert error.answers == 3
    if not kind.distribution:
        assert error.relative is not None
        assert error.kl is None
        return
    assert error.kl is not None
    assert error.log_prob is not None
    assert error.worst_log_prob is not None
    assert 0 <= error.log_prob <= error.worst_log_prob
    if kind == DenseAnswers(dtype="float32"):
        assert (error.largest, error.log_prob, error.kl) == (0, 0, 0)


def test_the_error_of_halves_is_that_of_the_formula() -> None:
    logits = answers(3, 10, 2.0)
    error = kept_error(Keep(), Outputs(logits), Outputs(logits.half().float()))
    p, q = logits.double().log_softmax(1), logits.half().double().log_softmax(1)
    assert error.log_prob == pytest.approx(float((p.exp() * (p - q).abs()).sum(1).mean()))
    assert error.kl == pytest.approx(float((q.exp() * (q - p)).sum(1).mean()))
    twice = joined([error, error])
    assert (twice.answers, twice.kl) == (6, pytest.approx(error.kl))


def test_the_tail_that_is_kept_as_one_mass_is_shared_out_evenly() -> None:
    logits = torch.tensor([[3.0, 1.0, 1.0, 1.0]]).expand(3, 4)
    even = kept_error(Keep(answers=TopKAnswers(k=1)), Outputs(logits), written(TopKAnswers(k=1), logits))
    uneven = logits + torch.tensor([0.0, 2.0, 0.0, -2.0])
    lost = kept_error(Keep(answers=TopKAnswers(k=1)), Outputs(uneven), written(TopKAnswers(k=1), uneven))
    assert even.kl == pytest.approx(0, abs=1e-6)
    assert lost.kl is not None
    assert lost.kl > 0.01


def test_taps_come_back_beside_the_answer() -> None:
    maps = torch.randn(3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    for dtype, exact in (("float32", True), ("float16", False), ("int8", False)):
        tap = Features(name="stages.1", shape=(4, 2, 2), dtype=dtype)
        keep = Keep(answers=TopKAnswers(k=2), taps=(tap,))
        given = Outputs(answers(0, 5, 1.0), {"stages.1": maps})
        kept = keep.decode(keep.encode(given, IDS, CLEAN), 5)
        off = float((kept.taps["stages.1"] - maps).abs().max())
        assert off <= tap.packing.bound(maps)
        assert (off == 0) == exact
        error = kept_error(keep, given, kept).taps["stages.1"]
        assert error == pytest.approx(float((kept.taps["stages.1"] - maps).norm() / maps.norm()), abs=1e-9)
        assert keep.decode(keep.encode(given, IDS, CLEAN), 5, taps=()).taps == {}


def test_a_number_that_halves_cannot_hold_is_refused_with_the_cure() -> None:
    logits = torch.tensor([[7e4, 0.0]]).expand(3, 2)
    with pytest.raises(TeacherError, match=r"kept as float16 .*Set teacher.keep to float32"):
        Keep().encode(Outputs(logits), IDS, CLEAN)
    Keep(answers=DenseAnswers(dtype="int8")).encode(Outputs(logits), IDS, CLEAN)
    tap = Features(name="a", shape=(2,))
    with pytest.raises(TeacherError, match=r"teacher's a, kept as float16 .*keep_taps"):
        Keep(taps=(tap,)).encode(Outputs(torch.zeros(3, 2), {"a": logits}), IDS, CLEAN)


@pytest.mark.parametrize("kind", [*WHOLE, *FEW], ids=str)
def test_a_kind_survives_dump_and_load_and_every_field_counts(kind: Any) -> None:
    assert KINDS[kind.kind] is type(kind)
    keep = keep_of(kind)
    assert Keep.model_validate(keep.model_dump(mode="json")) == keep
    assert (kind.few(10) is None) == (kind in WHOLE)


def test_a_word_is_a_format_of_all_logits_and_nothing_else_is_taken() -> None:
    assert keep_of("int8") == Keep(answers=DenseAnswers(dtype="int8"))
    assert keep_of(Keep()) == Keep()
    with pytest.raises(TeacherError, match="keep must be 'float32', 'float16', 'int8', a kind"):
        keep_of("bfloat16")


def test_few_classes_do_for_fewer() -> None:
    held = Few(likeliest=8, draws=20)
    assert held.does_for(Few())
    assert held.does_for(Few(likeliest=8))
    assert held.does_for(Few(draws=20))
    assert not held.does_for(Few(likeliest=9))
    assert not held.does_for(Few(draws=20, draw_temperature=2.0))
    assert str(held) == "the 8 likeliest classes and 20 drawn classes"


def test_records_have_no_padding_and_are_little_endian() -> None:
    for kind in [*WHOLE, *FEW]:
        layout = kind.layout(7)
        sizes = [layout.fields[name][0].itemsize for name in layout.names]
        assert sum(sizes) == layout.itemsize
        bases = [np.dtype(layout[name].base) for name in layout.names]
        assert all(base.byteorder in "<|=" for base in bases)


def test_text_comes_back_to_the_byte_and_what_is_too_long_is_refused() -> None:
    kind = Text(max_bytes=8)
    given = Outputs(None, text=("", "h\u00e9llo", "a\0b\0"))
    keep = Keep(answers=kind)
    kept = keep.decode(keep.encode(given, IDS, CLEAN), 0)
    assert kept.text == given.text
    assert kind.difference(kept, given, IDS, CLEAN).tolist() == [0, 0, 0]
    assert kind.unit_bytes(0) == 4 + 8
    assert kept_error(keep, given, kept).answers == 3
    with pytest.raises(TeacherError, match=rf"text for sample {IDS[1]} has 9 bytes, and .* sets 8 aside"):
        keep.encode(Outputs(None, text=("", "123456789", "")), IDS, CLEAN)
    with pytest.raises(TeacherError, match="answers with numbers"):
        keep.encode(Outputs(torch.zeros(3, 2)), IDS, CLEAN)


def test_eight_bits_of_a_probability_leave_the_mass_of_the_unlikely_classes_where_it_was() -> None:
    logits = answers(3, 1000, 3.0)
    kind = DenseAnswers(of="probabilities", dtype="int8")
    masses = written(kind, logits).logits.exp().sum(1)
    torch.testing.assert_close(masses, torch.ones(3), atol=0.05, rtol=0)
