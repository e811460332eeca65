from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from limbeck.errors import ModelError
from limbeck.models import MLP, load_weights, read_weights, state_digest

SHAPE = (6,)


def model(*, width: int = 8, classes: int = 3) -> nn.Module:
    return MLP(width=width, depth=1).build(SHAPE, classes)


def saved(module: nn.Module, file: Path) -> Path:
    if file.suffix == ".safetensors":
        save_file(module.state_dict(), file)
    else:
        torch.save(module.state_dict(), file)
    return file


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.bin"])
def test_weights_come_back_bit_for_bit(tmp_path: Path, name: str) -> None:
    source, target = model(), model()
    load_weights(target, saved(source, tmp_path / name))
    assert state_digest(target) == state_digest(source)


def test_a_wrapped_state_dict_and_a_folder_are_read(tmp_path: Path) -> None:
    source = model()
    torch.save({"state_dict": source.state_dict()}, tmp_path / "w.pt")
    saved(source, tmp_path / "model.safetensors")
    for path in (tmp_path / "w.pt", tmp_path):
        target = model()
        load_weights(target, path)
        assert state_digest(target) == state_digest(source)


def test_differences_are_all_listed_and_nothing_is_loaded(tmp_path: Path) -> None:
    weights = model().state_dict()
    weights["haed.weight"] = weights.pop("head.weight")
    weights["head.bias"] = torch.zeros(5)
    torch.save(weights, tmp_path / "w.pt")
    target = model()
    before = state_digest(target)
    with pytest.raises(ModelError) as caught:
        load_weights(target, tmp_path / "w.pt")
    message = str(caught.value)
    assert "missing in the file (1): head.weight. Did you mean 'haed.weight'?" in message
    assert "not in the model (1): haed.weight" in message
    assert "head.bias [5] for [3]" in message
    assert state_digest(target) == before


def test_another_class_count_is_named(tmp_path: Path) -> None:
    file = saved(model(classes=5), tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match="the file is for 5 classes and the model for 3"):
        load_weights(model(), file)


def test_another_width_is_not_taken_for_another_class_count(tmp_path: Path) -> None:
    file = saved(model(width=4), tmp_path / "w.pt")
    with pytest.raises(ModelError, match="another shape") as caught:
        load_weights(model(), file)
    assert "classes" not in str(caught.value)


def test_a_long_list_is_cut_and_counted(tmp_path: Path) -> None:
    torch.save({f"layer{number}": torch.zeros(1) for number in range(9)}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"not in the model \(9\): .* and 4 more"):
        load_weights(model(), tmp_path / "w.pt")


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    saved(model(), tmp_path / "teacher.pt")
    with pytest.raises(ModelError, match=r"no weights file .*teachr\.pt\. Did you mean 'teacher\.pt'"):
        read_weights(tmp_path / "teachr.pt")


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("must-not-exist"),)


def test_code_in_a_weights_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": _Evil()}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"does not run code.*state_dict"):
        read_weights(tmp_path / "w.pt")
    assert not Path("must-not-exist").exists()


def test_a_whole_pickled_module_is_refused_with_the_cure(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"Save `model.state_dict\(\)`"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize("keep", [0, 3, 100, -10])
def test_a_truncated_file_is_one_clear_error(tmp_path: Path, name: str, keep: int) -> None:
    file = saved(model(), tmp_path / name)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"is not a whole|does not run code"):
        read_weights(file)


@pytest.mark.parametrize("value", [[1, 2], {"epoch": 3}, torch.zeros(2)])
def test_what_is_not_a_state_dict_is_refused(tmp_path: Path, value: object) -> None:
    torch.save(value, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="must hold a state dict"):
        read_weights(tmp_path / "w.pt")


def test_a_plain_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(_Evil(), protocol=2))
    with pytest.raises(ModelError):
        read_weights(tmp_path / "w.pkl")


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    module = model()
    with torch.no_grad():
        module.get_parameter("head.bias")[1] = float("nan")
    with pytest.raises(ModelError, match=r"head\.bias holds numbers that are not finite"):
        read_weights(saved(module, tmp_path / "w.safetensors"))
