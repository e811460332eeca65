from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from limbeck.errors import ModelError
from limbeck.importing import import_function
from limbeck.models import PythonModel

Write = Callable[[str, str], None]


@pytest.fixture
def module_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a module into the current folder, which is not on the Python path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("/nowhere")  # restores sys.path afterwards
    return lambda name, text: (tmp_path / f"{name}.py").write_text(text) and None


STUDENT = (
    "from torch import nn\n"
    "def student(classes=3):\n"
    "    return nn.Sequential(nn.Flatten(), nn.Linear(4, classes))\n"
)


def test_nothing_is_imported_before_build(module_file: Write) -> None:
    module_file("not_yet_imported", "raise SystemExit('imported')\n")
    PythonModel(python="not_yet_imported:student")


def test_a_file_in_the_current_folder_is_found(module_file: Write) -> None:
    module_file("lies_here", STUDENT)
    module = PythonModel(python="lies_here:student", arguments={"classes": 5}).build((4,), 5)
    assert module(torch.zeros(2, 4)).shape == (2, 5)


def test_each_build_calls_the_function_again(module_file: Write) -> None:
    module_file("called_again", STUDENT)
    config = PythonModel(python="called_again:student")
    assert config.build((4,), 3) is not config.build((4,), 3)


def test_weights_are_loaded(module_file: Write, tmp_path: Path) -> None:
    module_file("starts_trained", STUDENT)
    weights = {"1.weight": torch.ones(3, 4), "1.bias": torch.ones(3)}
    torch.save(weights, tmp_path / "w.pt")
    module = PythonModel(python="starts_trained:student", weights=tmp_path / "w.pt").build((4,), 3)
    assert torch.equal(module(torch.ones(1, 4)), torch.full((1, 3), 5.0))


def test_another_class_count_is_refused(module_file: Write) -> None:
    module_file("five_classes", STUDENT)
    config = PythonModel(python="five_classes:student", arguments={"classes": 5})
    with pytest.raises(ModelError, match="answers for 5 classes, but the data has 3"):
        config.build((4,), 3)


def test_inputs_that_do_not_fit_are_refused(module_file: Write) -> None:
    module_file("four_features", STUDENT)
    with pytest.raises(ModelError, match=r"cannot take inputs of shape \[2, 7\]"):
        PythonModel(python="four_features:student").build((7,), 3)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("torch", "must have the form"),
        ("torch:", "must have the form"),
        ("collections:OrderdDict", "Did you mean 'OrderedDict'"),
        ("colections:OrderedDict", r"no module 'colections'.*Did you mean 'collections'"),
        ("collections.missing:f", r"no module 'collections\.missing'"),
        ("math:pi", "must be a function, got float"),
    ],
)
def test_a_wrong_reference_names_the_nearest(reference: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        import_function(reference)


def test_a_method_is_found_through_its_class() -> None:
    assert import_function("collections:OrderedDict.fromkeys") == OrderedDict.fromkeys


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("breaks_on_import", "1 / 0\n", "importing breaks_on_import failed: ZeroDivisionError"),
        ("needs_another", "import not_there_at_all\n", "needs 'not_there_at_all', which is not installed"),
        (
            "fails_when_called",
            "def student():\n    raise KeyError('x')\n",
            r"failed with arguments \{\}: KeyError",
        ),
        ("returns_a_list", "def student():\n    return []\n", "must return a torch.nn.Module, got list"),
    ],
)
def test_what_goes_wrong_in_the_users_code_is_one_clear_error(
    module_file: Write, name: str, text: str, message: str
) -> None:
    module_file(name, text)
    with pytest.raises(ModelError, match=message):
        PythonModel(python=f"{name}:student").build((4,), 3)


def test_a_module_of_the_users_is_left_as_it_was(module_file: Write) -> None:
    module_file(
        "with_statistics",
        "from torch import nn\n"
        "def student():\n    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))\n",
    )
    module = PythonModel(python="with_statistics:student").build((4,), 3)
    assert module.training
    norm = module.get_submodule("1")
    assert isinstance(norm, nn.BatchNorm1d)
    assert int(norm.get_buffer("num_batches_tracked")) == 0
