"""The public names, in full: whoever adds, renames or removes one changes this list and the changelog."""

from __future__ import annotations

import importlib
import types
from pathlib import Path

import pytest

NAMES = {
    "limbeck": """
        AdamW Augmentation CE Choice Cosine Evaluation Exports GateError KD LimbeckError Linear MLP Method
        OneCycle Plan Preprocessing PseudoLabel Residual RunError SGD Separable Training UserError VERSION
        distill distilling layers load run shrink tap watch
    """,
    "limbeck.cli": "",
    "limbeck.compress": """
        compact operators quantised_operators quantize
    """,
    "limbeck.data": """
        AnyData ArrayFiles Arrays Augmentation Contamination Digits Division FashionMNIST ImageFolder Loaded
        Mapped Parts Preprocessing PythonData Source Splits Stream as_source augment contamination
        from_dataset hashed image_folder load ordered read_arrays split
    """,
    "limbeck.evaluation": """
        Bin Calibration Candidate ClassQuality Efficiency Energy Fidelity Interval Memory Robustness
        SEVERITIES Verdict accuracy advice agreement balanced_accuracy break_even brier calibration
        confusion correct corrupt corruptions cost_per_million ece energy_per_million fidelity gap hardware
        inherited_errors kl_nats log_softmax lost macro_f1 measure metrics nll peak_memory per_class
        probabilities reliability retention robustness validation_warning verdict
    """,
    "limbeck.export": """
        Deployed ExportRecord FILES Runner export_student exportable open_module open_onnx open_program
        traced write_onnx write_program
    """,
    "limbeck.losses": """
        cross_entropy forward_kl log_probs
    """,
    "limbeck.methods": """
        AnyMethod CE KD METHODS Method PseudoLabel Reads Sum catalogue dump parse parts total
    """,
    "limbeck.models": """
        AnyModel Architecture Linear MLP Network PythonModel Residual Separable check_answers
        count_parameters kinds load_student load_weights read_weights save_student shrink
        state_digest
    """,
    "limbeck.pipeline": "",
    "limbeck.recipe": """
        AdamW Choice Control Cosine Evaluation Execution Exports Gate OneCycle PRESETS Plan Recipe SGD
        StudentRecipe TeacherRecipe Training Views dump json_schema load preset
    """,
    "limbeck.reports": """
        Bin ClassResult Control Curve Efficiency Estimate ExportResult Lost ModelResult Report Retention
        SCHEMA SeedResult TeacherResult Verdict report_schema write_card write_comparison write_page
        write_report
    """,
    "limbeck.teachers": """
        LiveTeacher StoredTeacher as_teacher check_classes
    """,
    "limbeck.teachers.store": """
        FixedViews Progress Store StoreKey Summary Verification differences inspect label list_stores
        open_store remove store_key verify
    """,
    "limbeck.training": """
        Distilling Estimate Measured Step TrainState distilling estimate executing gradient_share laid_out
        load measure_plan remove save start train
    """,
}


@pytest.mark.parametrize("package", NAMES)
def test_public_names_are_these(package: str) -> None:
    module = importlib.import_module(package)
    found = {name for name, value in vars(module).items() if not isinstance(value, types.ModuleType)}
    assert sorted(name for name in found if not name.startswith("_")) == NAMES[package].split()


def test_every_package_is_listed() -> None:
    root = importlib.import_module("limbeck")
    folders = {path.parent for base in root.__path__ for path in Path(base).rglob("__init__.py")}
    base = Path(root.__path__[0])
    assert set(NAMES) == {".".join(("limbeck", *folder.relative_to(base).parts)) for folder in folders}
