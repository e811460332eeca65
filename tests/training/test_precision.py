from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.errors import UserError
from limbeck.recipe.plan import Execution
from limbeck.training.precision import executing, laid_out


def test_threads_are_as_before_after_the_block() -> None:
    before = torch.get_num_threads()
    with executing(Execution(threads=before + 1)):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_computes_in_the_format_that_is_asked_for(precision: str, dtype: torch.dtype) -> None:
    layer = nn.Linear(3, 2)
    with executing(Execution.model_validate({"precision": precision})):
        assert layer(torch.ones(1, 3)).dtype == dtype
    assert layer(torch.ones(1, 3)).dtype == torch.float32


def test_fp32_is_kept_inside_somebody_elses_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16), executing(Execution()):
        assert nn.Linear(3, 2)(torch.ones(1, 3)).dtype == torch.float32


def test_layout_moves_channels_last_and_keeps_the_numbers() -> None:
    execution = Execution(layout="channels_last")
    images, net = torch.rand(2, 3, 4, 4), nn.Conv2d(3, 5, 3)
    before = net.weight.detach().clone()
    assert laid_out(images, execution).is_contiguous(memory_format=torch.channels_last)
    assert laid_out(net, execution).weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(net.weight, before)
    assert torch.equal(laid_out(images, execution), images)


def test_layout_leaves_what_has_no_channels() -> None:
    execution = Execution(layout="channels_last")
    rows, net = torch.rand(2, 3), nn.Linear(3, 2)
    assert laid_out(rows, execution) is rows
    assert laid_out(net, execution).weight.is_contiguous()


@pytest.mark.parametrize("value", ["true", "TRUE", "1"])
def test_refuses_threads_that_change_by_themselves(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_DYNAMIC", value)
    with pytest.raises(UserError, match="unset OMP_DYNAMIC"), executing(Execution()):
        pass
