from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from limbeck.errors import ModelError
from limbeck.files import read_json, write_json
from limbeck.models import MLP, PythonModel, Residual, Separable, load_student, save_student, state_digest

SHAPE = (1, 8, 8)


@pytest.mark.parametrize("config", [Residual(width=4, depth=1), Separable(width=4), MLP(width=8)])
def test_a_family_is_rebuilt_with_the_same_bits_and_answers(
    tmp_path: Path, config: Residual | Separable | MLP
) -> None:
    module = config.build(SHAPE, 3)
    module(torch.randn(8, *SHAPE))  # moves the batch statistics
    module.to(memory_format=torch.channels_last)
    save_student(tmp_path, module)
    loaded = load_student(tmp_path)
    inputs = torch.randn(4, *SHAPE)
    assert not loaded.training
    assert state_digest(loaded) == state_digest(module) == read_json(tmp_path / "model.json")["digest"]
    torch.testing.assert_close(loaded(inputs), module.eval()(inputs))


def test_a_users_function_is_rebuilt_without_the_weights_it_started_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rebuilt_student.py").write_text(
        "from torch import nn\n"
        "def make(width):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, 3))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = PythonModel(python="rebuilt_student:make", arguments={"width": 4})
    module = config.build(SHAPE, 3)
    started = config.model_copy(update={"weights": tmp_path / "gone.pt"})
    save_student(tmp_path / "student", module, config=started, shape=SHAPE, classes=3)
    assert state_digest(load_student(tmp_path / "student")) == state_digest(module)


def test_what_exists_only_in_python_says_so_and_how_to_load_it(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(2, 3))
    save_student(tmp_path, module)
    assert not read_json(tmp_path / "model.json")["rebuildable"]
    with pytest.raises(ModelError, match=r"Sequential that existed only in Python.*build="):
        load_student(tmp_path)
    loaded = load_student(tmp_path, build=lambda: nn.Sequential(nn.Linear(2, 3)))
    assert state_digest(loaded) == state_digest(module)


def test_a_tensor_shared_by_two_layers_survives(tmp_path: Path) -> None:
    def tied() -> nn.Module:
        module = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
        module[1].weight = module[0].weight
        return module

    module = tied()
    save_student(tmp_path, module)
    assert state_digest(load_student(tmp_path, build=tied)) == state_digest(module)


def test_a_folder_without_a_student_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no student"):
        load_student(tmp_path / "empty")


def test_an_unknown_kind_in_the_file_is_one_clear_error(tmp_path: Path) -> None:
    save_student(tmp_path, MLP(width=8).build(SHAPE, 3))
    facts = read_json(tmp_path / "model.json")
    write_json(tmp_path / "model.json", {**facts, "model": {"kind": "newer"}})
    with pytest.raises(ModelError, match=r"model\.json cannot be read"):
        load_student(tmp_path)
