"""``matmul: medium`` is used where it is fp32, gives the same results, and leaves torch as it was."""

from __future__ import annotations

import pytest
import torch

from limbeck.errors import UserError
from limbeck.recipe.plan import Execution
from limbeck.training import products
from limbeck.training.precision import executing, matmul
from limbeck.training.products import ProductErrors, product_errors

MEDIUM = Execution(matmul="medium")


def test_fp32_errs_by_its_own_spacing() -> None:
    found = product_errors()
    assert 1e-8 < found.highest < 1e-6


@pytest.mark.parametrize(
    ("rounded", "fp32"), [(torch.float32, True), (torch.bfloat16, False), (torch.float16, False)]
)
def test_rounding_to_a_half_is_told_from_fp32(
    rounded: torch.dtype, fp32: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = torch.nn.functional.linear

    def linear(inputs, weight):
        way = rounded if torch.get_float32_matmul_precision() == "medium" else torch.float32
        return exact(inputs.to(way).float(), weight.to(way).float())

    monkeypatch.setattr(products.nn.functional, "linear", linear)
    found = product_errors()
    assert found.fp32 == fp32


def test_two_terms_in_bfloat16_are_not_fp32_yet() -> None:
    assert not ProductErrors(highest=1.2e-7, medium=2.7e-6).fp32


@pytest.mark.parametrize("outside", ["highest", "medium"])
def test_the_setting_is_as_before_after_the_block_though_it_raises(outside: str) -> None:
    inside = []

    def fail() -> None:
        inside.append(torch.get_float32_matmul_precision())
        raise KeyError

    with matmul(outside):
        with pytest.raises(KeyError), executing(MEDIUM):
            fail()
        assert inside == ["medium"]
        with executing(Execution()):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == outside
    assert torch.get_float32_matmul_precision() == "highest"


def test_the_loop_sets_it_for_its_steps_alone(bench) -> None:
    stream, teacher = bench.batches(), bench.teacher
    state = bench.start(bench.mlp, teacher, stream)
    seen = []
    state.student.register_forward_hook(lambda *_: seen.append(torch.get_float32_matmul_precision()))
    taken = iter(bench.run(state, stream, teacher, steps=2, execution=MEDIUM))
    assert next(taken).number == 1
    assert seen == ["medium", "medium"]
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.skipif(not product_errors().fp32, reason="this processor does not compute medium in fp32")
def test_training_gives_the_same_within_fp32(bench) -> None:
    stream, teacher = bench.batches(), bench.teacher
    losses = {}
    for name, execution in (("highest", bench.execution), ("medium", MEDIUM)):
        state = bench.start(bench.mlp, teacher, stream, execution=execution)
        losses[name] = [step.loss for step in bench.run(state, stream, teacher, execution=execution)]
    torch.testing.assert_close(losses["medium"], losses["highest"], rtol=1e-5, atol=1e-6)


def test_a_setting_that_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def mixed() -> str:
        raise RuntimeError("mix of the legacy and new APIs")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", mixed)
    with pytest.raises(UserError, match="Take that line out"), matmul("medium"):
        pass
