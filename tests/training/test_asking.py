"""In which ways a teacher can be asked: what is tried, and what is not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.errors import ExportError
from limbeck.recipe.plan import Asking, Execution, Plan
from limbeck.training import asking, measure
from limbeck.training.asking import Questions, form_of
from limbeck.training.measure import Timing, measure_plan

FORMATS = [Execution(), Execution(layout="channels_last"), Execution(precision="bf16")]
PAYS = 1e6


def upside_down(model: nn.Module, example: torch.Tensor, threads: int):
    """Another engine, easily told from torch."""
    return lambda inputs: -model(inputs)


def refuses(model: nn.Module, example: torch.Tensor, threads: int):
    raise ExportError("it cannot be exported")


def questions(bench, *, engine=None) -> Questions:
    return Questions(bench.cnn().eval(), (2, 5, 5), engine=engine)


def test_what_can_be_folded_is_tried_folded_too(bench) -> None:
    tried = [each.asking for each in questions(bench).ways(FORMATS)]
    assert [each.folded for each in tried] == [False, True] * 3
    plain = Questions(bench.mlp().eval(), (6,), engine=None)
    assert not any(each.asking.folded for each in plain.ways(FORMATS))


def test_another_engine_is_tried_only_where_it_pays(bench) -> None:
    other = questions(bench, engine=upside_down)
    assert other.other_engine(1, all_seconds=1.0) == []
    (found,) = other.other_engine(2, all_seconds=PAYS)
    assert found.asking == Asking(engine="onnxruntime", threads=2)
    assert questions(bench).other_engine(1, all_seconds=PAYS) == []
    assert questions(bench, engine=refuses).other_engine(1, all_seconds=PAYS) == []


def test_no_batch_is_tried_that_does_not_fit_or_takes_too_long(bench, monkeypatch) -> None:
    found = list(questions(bench).sizes(Asking(), example_seconds=1e-6, most_seconds=1.0))
    assert sorted(each.examples for each in found) == [32, 64, 256, 512, 1024]
    slow = questions(bench).sizes(Asking(), example_seconds=1e-2, most_seconds=2.6)
    assert sorted(each.examples for each in slow) == [32, 64, 256]
    one = asking.footprint(bench.cnn().eval(), torch.zeros(4, 2, 5, 5)).example_bytes
    monkeypatch.setattr(asking, "available_bytes", lambda device: 2 * 70 * one)
    tight = questions(bench)
    fitting = tight.sizes(Asking(), example_seconds=1e-6, most_seconds=1.0)
    assert sorted(each.examples for each in fitting) == [32, 64]
    assert max(each.examples for each in tight.ways(FORMATS)) <= 70


def test_each_form_answers_for_the_model(bench) -> None:
    model, inputs = bench.cnn().eval(), torch.randn(3, 2, 5, 5)
    assert form_of(model, Asking(), (2, 5, 5), engine=None) is None
    folded = form_of(model, Asking(folded=True, layout="channels_last"), (2, 5, 5), engine=None)
    torch.testing.assert_close(folded(inputs), model(inputs))
    other = form_of(model, Asking(engine="onnxruntime"), (2, 5, 5), engine=upside_down)
    torch.testing.assert_close(other(inputs), -model(inputs))


def test_doubtful_answers_are_asked_for_again_in_plain_fp32() -> None:
    def exact(inputs: torch.Tensor) -> torch.Tensor:
        assert not torch.is_autocast_enabled("cpu")
        return inputs

    class Model(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return exact(inputs)

    asked = Asking(engine="onnxruntime", doubt_margin=0.5)
    form = form_of(Model(), asked, (3,), engine=lambda *_: lambda inputs: inputs + 100)
    inputs = torch.tensor([[0.0, 1.0, 2.0], [1.0, 1.4, 0.0], [0.0, 0.0, 0.6]])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(form(inputs), inputs + torch.tensor([[100.0], [0.0], [100.0]]))


@pytest.mark.parametrize("fields", [{"precision": "bf16"}, {"folded": True}])
def test_what_no_engine_does_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"computes in fp32 and folds by itself; set precision: fp32"):
        Asking.model_validate({"engine": "onnxruntime"} | fields)


def test_a_compiled_model_is_asked_as_it_is() -> None:
    with pytest.raises(ValueError, match="compiles the model as it is; set folded: false"):
        Asking(compile=True, folded=True)


def test_an_old_plan_still_loads() -> None:
    old = {"precision": "bf16", "layout": "channels_last", "threads": 2}
    plan = Plan.model_validate({"label": old, "label_batch_examples": 256})
    assert plan.label == Asking(precision="bf16", layout="channels_last", threads=2)
    assert plan.label_next == ()


def timing(seconds: float, examples: int = 128, **fields: object) -> Timing:
    return Timing("label", Asking.model_validate(fields), examples, seconds * examples, 3)


def test_what_comes_next_is_the_next_fastest_that_is_worth_it() -> None:
    student = [Timing("student", Execution(), 8, 1.0, 3), Timing("teacher", Execution(), 8, 1.0, 3)]
    label = [
        timing(1.0),
        timing(0.98, layout="channels_last"),
        timing(0.6, folded=True),
        timing(0.4, precision="bf16"),
        timing(0.3, precision="bf16", folded=True),
        timing(0.5, engine="onnxruntime"),
        timing(0.2, 64, precision="bf16", folded=True),
    ]
    plan = measure._chosen([*student, *label], 1)
    assert (plan.label, plan.label_batch_examples) == (Asking(precision="bf16", folded=True), 64)
    assert plan.label_next == (Asking(precision="bf16"), Asking(engine="onnxruntime"), Asking(folded=True))


def test_the_other_engine_takes_part_in_the_measurement(bench, monkeypatch) -> None:
    monkeypatch.setattr(asking, "_ENGINE_PAYS_SECONDS", 0.0)
    found = measure_plan(
        bench.cnn, bench.cnn, (2, 5, 5), 3,
        batch_examples=8, cores=1, budget_seconds=0.1, asked_examples=10, engine=upside_down,
    )  # fmt: skip
    assert any(each.execution == Asking(engine="onnxruntime") for each in found.timings)
