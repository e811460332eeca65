"""Reading layers of a model without changing it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from limbeck.errors import ModelError
from limbeck.taps import tap


class Net(nn.Module):
    """One layer of every awkward sort."""

    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.act = nn.ReLU(inplace=inplace)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
        self.cell = nn.LSTM(4, 4, batch_first=True)
        self.twice = nn.Identity()
        self.unused = nn.Linear(2, 2)
        self.last = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.body(self.act(self.first(inputs)))
        features = self.cell(features[:, None])[0][:, 0]
        return self.last(self.twice(self.twice(features)))


def hooks(model: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules())


INPUTS = torch.ones(5, 3)


def test_gives_what_the_layer_gave_with_its_graph() -> None:
    model = Net().eval()
    with tap(model, ["first", "body.0"]) as seen:
        model(INPUTS)
    torch.testing.assert_close(seen["first"], model.first(INPUTS))
    torch.testing.assert_close(seen["body.0"], model.body[0](model.act(model.first(INPUTS))))
    seen["body.0"].sum().backward()
    assert model.first.weight.grad is not None


def test_takes_one_name_and_keeps_the_last_pass() -> None:
    model = Net()
    with tap(model, "first") as seen:
        model(INPUTS)
        model(2 * INPUTS)
    torch.testing.assert_close(seen["first"], model.first(2 * INPUTS))


def test_changes_no_answer() -> None:
    model = Net().eval()
    expected = model(INPUTS)
    with tap(model, "first"):
        assert torch.equal(model(INPUTS), expected)


@pytest.mark.parametrize("fails", [False, True])
def test_hooks_are_gone_after_the_block(fails: bool) -> None:
    model = Net()
    try:
        with tap(model, ["first", "last"]):
            model(INPUTS)
            if fails:
                raise KeyError("the user's own")
    except KeyError:
        pass
    assert hooks(model) == 0


def test_an_error_inside_the_block_is_the_one_that_is_seen() -> None:
    with pytest.raises(ZeroDivisionError), tap(Net(), "first"):
        raise ZeroDivisionError


def test_reads_nothing_again_in_the_backward_pass() -> None:
    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            return checkpoint(self.inner, inputs, use_reentrant=False)

    model = Saving()
    with tap(model, "inner") as seen:
        answer = model(INPUTS)
        first = seen["inner"]
        answer.sum().backward()
        assert seen["inner"] is first


def test_reads_in_inference_mode() -> None:
    model = Net().eval()
    with torch.inference_mode(), tap(model, "first") as seen:
        model(INPUTS)
    assert seen["first"].shape == (5, 4)


def test_an_unknown_layer_is_named_with_its_neighbours() -> None:
    message = r"Net has no layer 'frst'\. Did you mean 'first'.* `limbeck layers MODEL` lists all 9\."
    with pytest.raises(ModelError, match=message), tap(Net(), "frst"):
        pass


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unused", "does not run"),
        ("cell", "gives tuple, expected one tensor"),
        ("twice", "runs more than once"),
    ],
)
def test_refuses_a_layer_that_has_no_one_output(name: str, message: str) -> None:
    model = Net()
    with pytest.raises(ModelError, match=message), tap(model, name):
        model(INPUTS)
    assert hooks(model) == 0


def test_refuses_a_layer_that_is_overwritten() -> None:
    model = Net(inplace=True)
    with pytest.raises(ModelError, match="overwritten by a later layer"), tap(model, "first"):
        model(INPUTS)


def test_refuses_a_block_without_a_pass() -> None:
    with pytest.raises(ModelError, match="was not called"), tap(Net(), "first"):
        pass


def test_reads_what_a_layer_takes() -> None:
    model = Net().eval()
    with tap(model, ["last@in", "last"]) as seen:
        answer = model(INPUTS)
    torch.testing.assert_close(seen["last"], answer)
    torch.testing.assert_close(model.last(seen["last@in"]), answer)


def test_an_input_that_a_layer_overwrites_is_refused() -> None:
    model = Net(inplace=True)
    with pytest.raises(ModelError, match="overwritten"), tap(model, ["act@in"]):
        model(INPUTS)
