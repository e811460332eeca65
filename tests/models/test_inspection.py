from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.errors import ModelError
from limbeck.models import Residual, check_answers, count_parameters, state_digest


def test_a_shared_tensor_counts_once() -> None:
    module = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    module[1].weight = module[0].weight
    assert count_parameters(module) == 9


def test_the_digest_ignores_layout_and_sees_every_tensor() -> None:
    module = Residual(width=4, depth=1, stages=2).build((1, 8, 8), 3)
    before = state_digest(module)
    assert state_digest(module.to(memory_format=torch.channels_last)) == before
    for name, tensor in module.state_dict().items():
        kept = tensor.clone()
        tensor.add_(1)
        assert state_digest(module) != before, name
        tensor.copy_(kept)
    assert state_digest(module) == before


def test_the_digest_sees_the_number_format_and_buffers_that_are_not_saved() -> None:
    module = nn.Linear(2, 2)
    before = state_digest(module)
    module.register_buffer("hidden", torch.zeros(1), persistent=False)
    assert state_digest(module) != before
    assert state_digest(nn.Linear(2, 2).bfloat16()) != before


class _Pair(nn.Module):
    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return inputs, inputs


def test_what_a_module_answers_is_checked() -> None:
    check_answers(nn.Linear(4, 3), (4,), 3)
    with pytest.raises(
        ModelError, match=r"the teacher \(Linear\) answers for 3 classes, but the data has 10"
    ):
        check_answers(nn.Linear(4, 3), (4,), 10, owner="the teacher")
    with pytest.raises(ModelError, match="must return a tensor of logits, got tuple"):
        check_answers(_Pair(), (4,), 3)
    with pytest.raises(ModelError, match=r"must return logits \[batch, 4\], got \[2, 1, 4\]"):
        check_answers(nn.Identity(), (1, 4), 4)
    with pytest.raises(ModelError, match=r"cannot take inputs of shape \[2, 5\]"):
        check_answers(nn.Linear(4, 3), (5,), 3)


def test_checking_leaves_mode_buffers_and_random_numbers_alone() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout())
    module[2].eval()
    before, random = state_digest(module), torch.get_rng_state()
    check_answers(module, (4,), 3)
    assert state_digest(module) == before
    assert torch.equal(torch.get_rng_state(), random)
    assert (module.training, module[1].training, module[2].training) == (True, True, False)
