"""What one forward pass shows of a model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from limbeck.errors import ModelError
from limbeck.taps import Layer, axes, layers

INPUTS = torch.ones(5, 3)


class Net(nn.Module):
    """A layer that runs twice, one that does not run, and one that gives no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))
        self.cell = nn.LSTM(4, 4, batch_first=True)
        self.twice = nn.Identity()
        self.unused = nn.Linear(2, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.body(inputs)
        return self.twice(self.twice(self.cell(features[:, None])[0][:, 0]))


def test_lists_every_layer_with_shapes_parameters_runs_and_when_it_ended() -> None:
    model = Net().train()
    found = {layer.name: layer for layer in layers(model, INPUTS)}
    assert list(found) == [name for name, _ in model.named_modules() if name]
    assert found["body.0"] == Layer("body.0", "Linear", (5, 4), 16, 1, takes=(5, 3), ended=0)
    assert found["body"] == Layer("body", "Sequential", (5, 4), 16, 1, takes=(5, 3), ended=2)
    assert found["cell"].shape is None
    assert found["twice"].runs == 2
    assert (found["unused"].shape, found["unused"].runs, found["unused"].ended) == (None, 0, -1)


def test_leaves_modes_random_state_and_hooks() -> None:
    model = Net().train()
    model.body.eval()
    modes, state = [part.training for part in model.modules()], torch.get_rng_state()
    layers(model, INPUTS)
    assert [part.training for part in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_refuses_inputs_that_do_not_fit() -> None:
    with pytest.raises(ModelError, match=r"Net cannot take inputs of shape \[5, 7\]"):
        layers(Net(), torch.ones(5, 7))


def test_names_the_axes_of_features() -> None:
    assert axes((2, 3)) == ("batch", "width")
    assert axes((2, 9, 4)) == ("batch", "tokens", "width")
    assert axes((2, 4, 7, 7)) == ("batch", "channels", "height", "width")
    assert axes((2,)) == axes(None) == ()
