"""A folded model answers as before, in as many words fewer as could be traced."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from limbeck.models import MLP, Architecture, Linear, Residual, Separable, ViT, folded, state_digest

ZOO = [
    (Residual(width=4, depth=1), 9),
    (Residual(width=4, depth=2, stages=2, stem_stride=2), 10),
    (Separable(width=4), 5),
    (MLP(width=16), 2),
    (ViT(width=16, depth=1), 0),
    (Linear(), 0),
]
NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def unsettled(model: nn.Module) -> nn.Module:
    """The model in eval mode, with statistics and scales that matter."""
    torch.manual_seed(0)
    for part in model.modules():
        if isinstance(part, NORMALISATIONS) and part.running_mean is not None:
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
            if part.affine:
                part.weight.data.normal_()
                part.bias.data.normal_()
    return model.eval()


def same(model: nn.Module, inputs: Tensor) -> None:
    before, state = model(inputs), state_digest(model)
    found = folded(model)
    torch.testing.assert_close(found.module(inputs), before, rtol=1e-4, atol=1e-5)
    assert state_digest(model) == state
    assert len([part for part in found.module.modules() if isinstance(part, NORMALISATIONS)]) == len(
        found.left
    )


@pytest.mark.parametrize(("kind", "pairs"), ZOO, ids=lambda value: str(getattr(value, "kind", value)))
def test_every_family_answers_the_same_without_its_normalisations(kind: Architecture, pairs: int) -> None:
    model = unsettled(kind.build((1, 8, 8), 3))
    same(model, torch.randn(5, 1, 8, 8))
    found = folded(model)
    assert (len(found.pairs), found.left) == (pairs, ())
    assert [name for name, _ in model.named_modules()] == [name for name, _ in found.module.named_modules()]


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3)], (2, 8)),
        ([nn.Conv3d(2, 3, 2, bias=False), nn.BatchNorm3d(3, affine=False)], (2, 4, 4, 4)),
        ([nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6, eps=0.1)], (4, 5, 5)),
        ([nn.ConvTranspose2d(2, 3, 3, stride=2), nn.BatchNorm2d(3)], (2, 4, 4)),
        ([nn.Linear(6, 4), nn.BatchNorm1d(4)], (6,)),
    ],
    ids=["conv1d", "conv3d", "grouped", "transposed", "linear"],
)
def test_every_layer_that_normalisation_may_follow(layers: list[nn.Module], shape: tuple[int, ...]) -> None:
    model = unsettled(nn.Sequential(*layers, nn.ReLU()))
    same(model, torch.randn(3, *shape))
    assert folded(model).pairs == (("0", "1"),)


class Read(nn.Module):
    """The convolution's answer is read by the normalisation and by somebody else."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)

    def forward(self, inputs: Tensor) -> Tensor:
        seen = self.layer(inputs)
        answer: Tensor = self.norm(seen) + seen
        return answer


class Twice(nn.Module):
    """One convolution before two normalisations."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 3, 3)
        self.one, self.other = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, inputs: Tensor) -> Tensor:
        answer: Tensor = self.one(self.layer(inputs)) - self.other(self.layer(inputs))
        return answer


class Branching(nn.Module):
    """Cannot be traced as a whole: what it does depends on the values. Its parts can."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
        self.layer, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        answer: Tensor = self.norm(self.layer(self.body(inputs)))
        return answer if float(answer.detach().sum()) > 0 else -answer


class Scaled(nn.Conv2d):
    """A convolution of the user's own, with weights of its own making."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        return super().forward(2 * input)


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    model[0].register_forward_hook(lambda module, inputs, output: output * 2)
    return model


def parametrised() -> nn.Module:
    layer = parametrizations.weight_norm(nn.Conv2d(1, 3, 3))
    return nn.Sequential(layer, nn.BatchNorm2d(3))


def shared() -> nn.Module:
    layer, norm = nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1)
    return nn.Sequential(layer, norm, layer, norm)


@pytest.mark.parametrize(
    ("model", "pairs"),
    [
        (Read(), 0),
        (Twice(), 0),
        (Branching(), 1),
        (nn.Sequential(Scaled(1, 3, 3), nn.BatchNorm2d(3)), 0),
        (nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, track_running_stats=False)), 0),
        (nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.BatchNorm2d(3)), 0),
        (hooked(), 0),
        (parametrised(), 0),
        (shared(), 0),
    ],
    ids=["read", "twice", "branching", "own-kind", "no-statistics", "between", "hooked", "parametrised", "shared"],
)  # fmt: skip
def test_what_cannot_be_folded_stays_and_is_named(model: nn.Module, pairs: int) -> None:
    unsettled(model)
    same(model, torch.randn(3, 1, 8, 8))
    found = folded(model)
    names = [name for name, part in model.named_modules() if isinstance(part, NORMALISATIONS)]
    assert len(found.pairs) == pairs
    assert set(found.left) == set(names) - {norm for _, norm in found.pairs}


def test_looking_for_something_to_fold_leaves_the_model_as_it_is() -> None:
    model = Branching().train()
    folded(model)
    assert model.training
    assert model.calls == 0
