"""A compiled model answers as before, and no tap is lost."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from limbeck.errors import ModelError, UserError
from limbeck.taps import Compiled, compiled, is_compiled, layers, tap, unwrapped

BACKENDS = ["eager", *(pytest.param(name, marks=pytest.mark.long) for name in ("aot_eager", "inductor"))]
every_backend = pytest.mark.parametrize("backend", BACKENDS)
INPUTS = torch.randn(5, 3)
quiet = pytest.mark.filterwarnings(  # torch's own: while it loads its compiler, and looks at what was read
    "ignore::DeprecationWarning", "ignore:The .grad attribute"
)


class Net(nn.Module):
    """A layer in a block, one that does not run, and a break in the graph."""

    def __init__(self, *, breaks: bool = False) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Tanh())
        self.unused = nn.Linear(2, 2)
        self.last = nn.Linear(4, 2)
        self.breaks = breaks

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.first(inputs)
        if self.breaks:
            torch._dynamo.graph_break()
        return self.last(self.body(features))


@pytest.fixture(autouse=True)
def fresh(backend: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiled, "BACKEND", backend)
    yield
    torch.compiler.reset()


@quiet
@every_backend
@pytest.mark.parametrize("breaks", [False, True])
def test_gives_in_every_pass_what_the_layers_give(backend: str, breaks: bool) -> None:
    model = Net(breaks=breaks).eval()
    asked = Compiled(model, ["first", "body.0", "last@in"])
    for scale in (1.0, 2.0, 3.0):
        answer, seen = asked(scale * INPUTS)
        with tap(model, ["first", "body.0", "last@in"]) as expected:
            torch.testing.assert_close(answer, model(scale * INPUTS))
        assert list(seen) == list(expected)
        for name, feature in seen.items():
            torch.testing.assert_close(feature, expected[name])


@quiet
@every_backend
def test_gradients_pass_through_what_was_read(backend: str) -> None:
    model = Net()
    twin = copy.deepcopy(model)
    answer, seen = Compiled(model, ["body.0"])(INPUTS)
    (answer.sum() + seen["body.0"].square().sum()).backward()
    with tap(twin, "body.0") as expected:
        answer = twin(INPUTS)
    (answer.sum() + expected["body.0"].square().sum()).backward()
    for mine, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert (mine.grad is None) == (other.grad is None)
        if mine.grad is not None:
            torch.testing.assert_close(mine.grad, other.grad)


@pytest.mark.parametrize("backend", ["eager"])
def test_is_compiled_once_for_all_steps(backend: str) -> None:
    asked = Compiled(Net(), ["first"])
    asked(INPUTS)
    asked(INPUTS)
    with torch.compiler.set_stance("fail_on_recompile"):
        for _ in range(3):
            asked(INPUTS)


@pytest.mark.parametrize("backend", ["eager"])
def test_two_of_one_kind_do_not_meet(backend: str) -> None:
    pair = [Compiled(Net(), ["first"]), Compiled(Net(), ["body.0"])]
    for _ in range(2):
        assert [list(asked(INPUTS)[1]) for asked in pair] == [["first"], ["body.0"]]


@pytest.mark.parametrize("backend", ["eager"])
def test_the_model_stays_a_plain_module(backend: str) -> None:
    model = Net()
    names = list(model.state_dict())
    Compiled(model, ["first"])(INPUTS)
    assert list(model.state_dict()) == names
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    with tap(model, "first") as seen:
        model(INPUTS)
    assert seen["first"].shape == (5, 4)


@pytest.mark.parametrize("backend", ["eager"])
def test_a_tap_that_does_not_fire_is_named_in_the_first_pass(backend: str) -> None:
    asked = Compiled(Net(), ["first", "unused"])
    with pytest.raises(ModelError, match="The tap 'unused' of the compiled Net gave nothing"):
        asked(INPUTS)


@pytest.mark.long
@pytest.mark.parametrize("backend", ["aot_eager"])
def test_the_graph_may_be_kept(backend: str) -> None:
    model = Net()
    answer, _ = Compiled(model, [])(INPUTS)
    first = torch.autograd.grad(answer.sum(), model.first.weight, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(answer.sum(), model.first.weight)[0])


@pytest.mark.parametrize("backend", ["inductor"])
def test_a_missing_compiler_is_said_before_anything_runs(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"needs the C\+\+ compiler 'no-such-compiler'.*apt-get"):
        Compiled(Net(), [])


@pytest.mark.parametrize("backend", ["eager"])
def test_what_is_compiled_already_keeps_its_compiler_and_its_names(backend: str) -> None:
    calls = []

    def counting(graph, _):
        calls.append(graph)
        return graph.forward

    model = Net().eval()
    theirs = torch.compile(model, backend=counting)
    theirs(INPUTS)  # traced without hooks
    before = len(calls)
    answer, seen = Compiled(theirs, ["first"])(INPUTS)
    assert len(calls) > before
    torch.testing.assert_close(seen["first"], model.first(INPUTS))
    torch.testing.assert_close(answer, model(INPUTS))
    assert is_compiled(theirs)
    assert unwrapped(theirs) is model
    assert [layer.name for layer in layers(theirs, INPUTS)] == [layer.name for layer in layers(model, INPUTS)]


@pytest.mark.parametrize("backend", ["eager"])
@pytest.mark.parametrize("inside", [False, True])
def test_a_plain_tap_on_what_is_compiled_is_refused(backend: str, inside: bool) -> None:
    model = Net()
    if inside:
        model.body.compile(backend="eager")
    else:
        model = torch.compile(model, backend="eager")
    with pytest.raises(ModelError, match="Net is compiled"), tap(model, "first"):
        pass
