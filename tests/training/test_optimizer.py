from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.errors import ModelError
from limbeck.recipe.training import SGD, AdamW
from limbeck.training.optimizer import build, is_fused, set_learning_rate

SETTINGS = [SGD(learning_rate=0.1, weight_decay=0.01), AdamW(learning_rate=0.1, weight_decay=0.1)]
every_optimizer = pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings.kind)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(2, 3, 2, bias=False), nn.BatchNorm1d(3), nn.Flatten(), nn.Linear(9, 2))


def reference(settings: SGD | AdamW, groups: list[dict[str, object]]) -> torch.optim.Optimizer:
    if isinstance(settings, SGD):
        return torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True, fused=False)
    return torch.optim.AdamW(groups, lr=0.1, fused=False)


@every_optimizer
def test_takes_the_steps_of_torchs_plain_optimizer(settings: SGD | AdamW) -> None:
    ours, theirs = net(), net()
    groups = [
        {"params": [theirs[0].weight, theirs[3].weight], "weight_decay": settings.weight_decay},
        {"params": [*theirs[1].parameters(), theirs[3].bias], "weight_decay": 0.0},
    ]
    inputs, labels = torch.randn(8, 2, 4), torch.arange(8) % 2
    for model, optimizer in ((ours, build(settings, [ours])), (theirs, reference(settings, groups))):
        for _ in range(4):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


@every_optimizer
def test_is_fused_where_torch_can(settings: SGD | AdamW) -> None:
    assert is_fused(build(settings, [nn.Linear(2, 2)]))


@every_optimizer
def test_says_so_where_torch_cannot(settings: SGD | AdamW) -> None:
    assert not is_fused(build(settings, [nn.Linear(2, 2, device="meta")]))


@every_optimizer
def test_only_weights_of_two_dimensions_or_more_decay(settings: SGD | AdamW) -> None:
    model = net()
    for group in build(settings, [model]).param_groups:
        expected = settings.weight_decay if group["params"][0].ndim >= 2 else 0.0
        assert group["weight_decay"] == expected
        assert len({parameter.ndim >= 2 for parameter in group["params"]}) == 1


def test_a_shared_parameter_counts_once_and_a_frozen_one_not_at_all() -> None:
    student = nn.Linear(2, 2)
    connector = nn.Sequential(student, nn.Linear(2, 2, bias=False))
    student.bias.requires_grad_(False)
    groups = build(SGD(), [student, connector]).param_groups
    assert sum(len(group["params"]) for group in groups) == 2


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(ModelError, match="requires_grad_"):
        build(SGD(), [nn.Linear(2, 2).requires_grad_(False)])


def test_learning_rate_reaches_every_group() -> None:
    optimizer = build(SGD(), [net()])
    set_learning_rate(optimizer, 0.25)
    assert {group["lr"] for group in optimizer.param_groups} == {0.25}
