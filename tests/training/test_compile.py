"""A compiled student learns the same, under the same names, with all its taps, or is refused before it starts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from limbeck.errors import ModelError, UserError
from limbeck.methods import AttentionTransfer, Hint
from limbeck.methods.kd import KD
from limbeck.recipe.plan import Execution
from limbeck.taps import compiled
from limbeck.teachers import LiveTeacher
from limbeck.training import checkpoint
from limbeck.training.loop import train
from limbeck.training.own_loop import distilling

COMPILED = Execution(compile=True)
FORMATS = [COMPILED, Execution(compile=True, precision="bf16", layout="channels_last")]
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it loads its compiler
BACKENDS = ["eager", *(pytest.param(name, marks=pytest.mark.long) for name in ("aot_eager", "inductor"))]
every_backend = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    backend = request.node.callspec.params.get("backend") if hasattr(request.node, "callspec") else None
    monkeypatch.setattr(compiled, "BACKEND", backend or "eager")
    yield
    torch.compiler.reset()


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 3),
    )  # fmt: skip


def image_teacher() -> LiveTeacher:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return LiveTeacher(net(), classes=3)


METHOD = (
    KD()
    + Hint(pairs=[{"student": "1", "teacher": "1"}])
    + AttentionTransfer(pairs=[{"student": "0", "teacher": "0"}])
)


@quiet
@every_backend
@pytest.mark.parametrize("execution", FORMATS, ids=["fp32", "bf16"])
def test_learns_as_the_plain_student_does(bench, backend: str, execution: Execution) -> None:
    stream, teacher = bench.batches(images=True), image_teacher()
    losses, weights = {}, {}
    for name, chosen in (("plain", execution.model_copy(update={"compile": False})), ("compiled", execution)):
        state = bench.start(net, teacher, stream, method=METHOD, execution=chosen)
        losses[name] = [step.loss for step in bench.run(state, stream, teacher, execution=chosen)]
        weights[name] = state.student.state_dict()
    rtol = 1e-4 if execution.precision == "fp32" else 2e-2
    torch.testing.assert_close(losses["compiled"], losses["plain"], rtol=rtol, atol=rtol)
    assert list(weights["compiled"]) == list(weights["plain"])
    for name, value in weights["compiled"].items():
        torch.testing.assert_close(value, weights["plain"][name], rtol=rtol, atol=rtol)


def test_resuming_gives_the_same_bits(bench, tmp_path) -> None:
    stream, teacher = bench.batches(images=True), image_teacher()
    options = {"method": METHOD, "execution": COMPILED}
    whole, half, rest = (bench.start(net, teacher, stream, **options) for _ in range(3))
    bench.run(whole, stream, teacher, execution=COMPILED)
    bench.run(half, stream, teacher, steps=3, execution=COMPILED)
    checkpoint.save(half, tmp_path / "checkpoint")
    assert checkpoint.load(rest, tmp_path / "checkpoint")
    bench.run(rest, stream, teacher, execution=COMPILED)
    for name, value in whole.student.state_dict().items():
        assert torch.equal(value, rest.student.state_dict()[name])


class Shy(nn.Module):
    """Leaves a layer out while it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.bonus, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.first(inputs)
        return self.last(features if self.training else self.bonus(features))


@pytest.mark.parametrize("execution", [COMPILED, Execution()], ids=["compiled", "plain"])
def test_a_tap_that_does_not_fire_ends_the_first_step(bench, execution: Execution) -> None:
    stream, teacher = bench.batches(), LiveTeacher(Shy(), classes=3)
    state = bench.start(
        Shy,
        teacher,
        stream,
        method=Hint(pairs=[{"student": "bonus", "teacher": "bonus"}]),
        execution=execution,
    )
    with pytest.raises(ModelError, match="'bonus'"):
        next(train(state, stream, teacher, execution=execution))
    assert state.step == 0


def test_a_missing_compiler_is_said_before_training(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "inductor")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match="no-such-compiler"):
        bench.start(bench.mlp, bench.teacher, bench.batches(), execution=COMPILED)
    with pytest.raises(UserError, match="no-such-compiler"):
        LiveTeacher(bench.mlp(), classes=3, compiled=True)


def test_a_student_that_comes_compiled_is_refused(bench) -> None:
    with pytest.raises(ModelError, match=r"plan\.student\.compile: true"):
        bench.start(lambda: torch.compile(bench.mlp(), backend="eager"), bench.teacher, bench.batches())


@quiet
@every_backend
def test_a_compiled_teacher_answers_as_the_plain_one(bench, backend: str) -> None:
    batch, model = bench.batches(images=True).batch(0), net()
    plain, fast = LiveTeacher(model, classes=3), LiveTeacher(model, classes=3, compiled=True)
    for taps in ((), ("0", "5@in"), ("1",)):
        mine, other = fast.offer.tapping(taps)(batch), plain.offer.tapping(taps)(batch)
        torch.testing.assert_close(mine.logits, other.logits)
        assert list(mine.taps) == list(taps)
        for name in taps:
            torch.testing.assert_close(mine.taps[name], other.taps[name])
    assert fast.digest == plain.digest


def test_a_loop_of_ones_own_may_compile_its_student(bench) -> None:
    batch, teacher = bench.batches(images=True).batch(0), image_teacher()
    torch.manual_seed(3)
    student = net()
    found = {}
    for name, model in (("plain", student), ("compiled", torch.compile(student, backend="eager"))):
        with distilling(model, teacher, AttentionTransfer(pairs=[{"student": "1", "teacher": "1"}])) as d:
            for _ in range(2):
                student.zero_grad()
                d.loss(batch).backward()
            found[name] = [parameter.grad.clone() for parameter in student[:2].parameters()]
    torch.testing.assert_close(found["compiled"], found["plain"])
