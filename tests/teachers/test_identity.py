"""A teacher's digest changes with whatever changes its answers, and with nothing else."""

from __future__ import annotations

import copy
import importlib.util
import sys

import pytest
import torch
from torch import nn

from limbeck.errors import TeacherError
from limbeck.teachers import LiveTeacher
from limbeck.teachers.identity import source_code


def _digest(model, **settings):
    return LiveTeacher(model, classes=3, shape=(1, 8, 8), **settings).digest


def _changed(model, change):
    other = copy.deepcopy(model)
    change(other)
    return other


class Scaled(nn.Module):
    """Holds a number that is no parameter."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)
        self.factor = factor

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layer(inputs.flatten(1)) * self.factor


def test_a_copy_has_the_same_digest(model):
    assert _digest(model) == _digest(copy.deepcopy(model))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_digest_does_not_depend_on_threads_mode_or_layout(model, threads, layout):
    expected = _digest(model)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert _digest(model.train(), layout=layout) == expected
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "change",
    [
        lambda other: other[0].weight.data.mul_(1.0001),
        lambda other: other[1].running_mean.add_(1e-6),
        lambda other: other.__setitem__(2, nn.Tanh()),
    ],
    ids=["weight", "buffer", "layer"],
)
def test_weights_buffers_and_layers_change_the_digest(model, change):
    assert _digest(model) != _digest(_changed(model, change))


def test_a_change_that_only_the_answers_show_changes_the_digest():
    torch.manual_seed(0)
    model = Scaled(1.0)
    assert _digest(model) != _digest(_changed(model, lambda other: setattr(other, "factor", 1.05)))


def test_the_version_changes_the_digest(model):
    assert _digest(model, version="1") != _digest(model, version="2")


def test_the_code_of_a_users_class_is_part_of_it_and_torchs_is_not(tmp_path, monkeypatch):
    texts = []
    for name, step in (("first_net", "+ 0"), ("second_net", "- 0")):
        file = tmp_path / f"{name}.py"
        file.write_text(
            "from torch import nn\n\n\nclass Net(nn.Module):\n    def forward(self, inputs):\n"
            f"        return inputs.flatten(1)[:, :3] {step}\n"
        )
        spec = importlib.util.spec_from_file_location(name, file)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        texts.append(module.Net())
    first, second = texts
    assert _digest(first) != _digest(second)
    assert source_code(nn.Sequential(nn.Linear(2, 2))) == []
    assert len(source_code(nn.Sequential(first, nn.ReLU()))) == 1


def test_without_the_shape_of_an_input_weights_and_code_still_count(model):
    changed = _changed(model, lambda other: other[0].weight.data.mul_(1.0001))
    first, same, other = (LiveTeacher(each, classes=3).digest for each in (model, model, changed))
    assert first == same != other
    assert first != _digest(model)


def test_a_teacher_that_answers_the_probe_with_nan_is_refused(model):
    broken = _changed(model, lambda other: other[5].bias.data.fill_(float("nan")))
    with pytest.raises(TeacherError, match="to the probe must be finite"):
        _digest(broken)


def test_a_borrowed_module_is_looked_at_again(model):
    teacher = LiveTeacher(model, classes=3, shape=(1, 8, 8), copy=False)
    before = teacher.digest
    model[5].bias.data.add_(1)
    assert teacher.digest != before
