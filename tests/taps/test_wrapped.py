"""A wrapper changes no layer's name."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel

from limbeck.taps import layers, tap, unwrapped


class Net(nn.Module):
    """It has a layer that is called as wrappers call theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Linear(3, 4)
        self.shared = nn.Sequential(nn.Tanh())
        self.again = self.shared
        self.last = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.shared(self.module(inputs)))


INPUTS = torch.randn(5, 3)


def test_layers_keep_their_names_in_a_wrapper() -> None:
    model = Net()
    wrapped = DataParallel(DataParallel(model))
    assert unwrapped(wrapped) is model
    assert layers(wrapped, INPUTS) == layers(model, INPUTS)


def test_names_are_found_with_and_without_the_wrappers_prefix() -> None:
    model = DataParallel(Net())
    with tap(model, ["last", "module.last@in", "shared.0", "again.0"]) as seen:
        answer = model(INPUTS)
    torch.testing.assert_close(seen["last"], answer)
    torch.testing.assert_close(model.module.last(seen["module.last@in"]), answer)


def test_a_layer_called_like_a_wrapper_is_itself() -> None:
    model = Net()
    for wrapped in (model, DataParallel(model)):
        with tap(wrapped, "module") as seen:
            wrapped(INPUTS)
        torch.testing.assert_close(seen["module"], model.module(INPUTS))


def test_a_wrapper_inside_is_looked_through() -> None:
    model = nn.Sequential(nn.Linear(3, 3), DataParallel(nn.Sequential(nn.Linear(3, 2), nn.Tanh())))
    assert [layer.name for layer in layers(model, INPUTS)] == ["0", "1", "1.0", "1.1"]
    with tap(model, "1.0") as seen:
        model(INPUTS)
    assert seen["1.0"].shape == (5, 2)
