from __future__ import annotations

import pytest
import torch

from limbeck.recipe.plan import Execution
from limbeck.training import measure
from limbeck.training.measure import Timing, executions, measure_plan
from limbeck.training.products import ProductErrors


def test_measures_every_choice_and_takes_one_of_them(bench) -> None:
    before = torch.get_rng_state(), torch.get_num_threads()
    found = measure_plan(bench.cnn, bench.cnn, (2, 5, 5), 3, batch_examples=8, cores=2, budget_seconds=0.3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    assert torch.get_float32_matmul_precision() == "highest"
    ways = 4 if found.products.fp32 else 3
    tried = {
        work: [each for each in found.timings if each.work == work]
        for work in ("student", "teacher", "label")
    }
    assert [len(tried[work]) for work in ("student", "teacher")] == [2 * ways, 2 * ways]
    assert len({each.execution for each in tried["label"]}) == 2 * ways
    assert len({each.batch_examples for each in tried["label"]}) > 1
    assert found.plan.student in [each.execution for each in tried["student"]]
    assert found.plan.teacher in [each.execution for each in tried["teacher"]]
    assert (found.plan.label, found.plan.label_batch_examples) in [
        (each.execution, each.batch_examples) for each in tried["label"]
    ]
    assert all(each.step_seconds > 0 for each in found.timings)


def test_rows_have_no_channels_to_put_last() -> None:
    assert {each.layout for each in executions((64,), [1], medium=True)} == {"contiguous"}
    assert len(executions((64,), [1], medium=True)) == 3
    assert len(executions((1, 28, 28), [1, 2], medium=False)) == 6


@pytest.mark.parametrize(("medium", "tried"), [(3e-7, True), (2e-6, False), (4e-3, False)])
def test_medium_is_tried_only_where_it_is_as_exact_as_fp32(
    bench, medium: float, tried: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "product_errors", lambda: ProductErrors(highest=2e-7, medium=medium))
    found = measure_plan(bench.mlp, None, (6,), 3, batch_examples=8, cores=1, budget_seconds=0.01)
    assert any(each.execution.matmul == "medium" for each in found.timings) == tried


def test_without_a_teacher_only_the_student_is_measured(bench) -> None:
    found = measure_plan(bench.mlp, None, (6,), 3, batch_examples=8, cores=1, budget_seconds=0.1)
    assert {each.work for each in found.timings} == {"student"}
    assert found.plan.workers == 1


def timing(seconds: float, **execution: object) -> Timing:
    return Timing("student", Execution.model_validate(execution), 128, seconds, 3)


@pytest.mark.parametrize(("alone", "together", "workers"), [(1.9, 1.0, 2), (2.1, 1.0, 1), (1.0, 1.2, 2)])
def test_students_train_side_by_side_where_more_gets_done(
    alone: float, together: float, workers: int
) -> None:
    plan = measure._chosen([timing(alone, threads=1), timing(together, threads=2)], 2)
    assert plan.workers == workers
    assert plan.student.threads == (1 if workers == 2 else 2)


@pytest.mark.parametrize(("bf16", "chosen"), [(0.97, "fp32"), (0.9, "bf16")])
def test_the_plainer_choice_wins_unless_another_is_clearly_faster(bf16: float, chosen: str) -> None:
    plan = measure._chosen([timing(1.0), timing(bf16, precision="bf16")], 1)
    assert plan.student.precision == chosen


@pytest.mark.parametrize(("medium", "chosen"), [(0.97, "highest"), (0.6, "medium")])
def test_medium_has_to_be_really_faster(medium: float, chosen: str) -> None:
    plan = measure._chosen([timing(1.0), timing(medium, matmul="medium")], 1)
    assert plan.student.matmul == chosen


def test_compiling_is_never_chosen() -> None:
    assert not any(each.compile for each in executions((1, 28, 28), [1, 2], medium=True))
