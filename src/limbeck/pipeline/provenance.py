"""Where a run's numbers come from: code, packages, data, seeds, machine."""

from __future__ import annotations

import hashlib
import subprocess
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import limbeck.errors
from limbeck.evaluation import hardware
from limbeck.files import read_json
from limbeck.models import Architecture
from limbeck.pipeline.arms import TEACHER, assistant_arms
from limbeck.pipeline.context import Context
from limbeck.threads import recorded
from limbeck.version import VERSION

_PACKAGES = (
    "torch", "numpy", "scipy", "scikit-learn", "onnx", "onnxscript", "onnxruntime", "pydantic", "safetensors",
)  # fmt: skip


def provenance(context: Context) -> dict[str, Any]:
    """What someone needs to know to repeat the run."""
    installed = {item.name: item.version for item in distributions() if item.name in _PACKAGES}
    rebuildable = context.objects.travel and isinstance(context.recipe.student.model, Architecture)
    return {
        "limbeck": VERSION,
        "code": _code_digest(),
        "commit": _commit(),
        "packages": dict(sorted(installed.items())),
        "hardware": hardware(),
        "data": {
            "train": context.splits.train.digest,
            "validation": context.splits.validation.digest,
            "test": context.splits.test.digest,
        },
        "teacher": read_json(context.folder.path / "targets.json").get("teacher"),
        "targets": context.targets_digest(TEACHER),
        "asked": read_json(context.folder.path / "targets.json").get("check"),
        **_assistants(context),
        "seeds": list(context.recipe.seeds),
        "plan": context.plan.model_dump(mode="json"),
        "threads": recorded(context.plan.threads),
        "rebuildable": rebuildable,
    }


def _assistants(context: Context) -> dict[str, Any]:
    """The stores of the assistants' answers, where there are assistants."""
    stores = {arm.name: context.targets_digest(arm.name) for arm in assistant_arms(context.recipe)}
    return {"assistants": stores} if stores else {}


def _code_digest() -> str:
    """Sixteen hex digits over the package's own source."""
    root = Path(limbeck.errors.__file__).parent
    total = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        total.update(path.relative_to(root).as_posix().encode())
        total.update(path.read_bytes())
    return total.hexdigest()[:16]


def _commit() -> str | None:
    """The commit of the source tree, where the package runs from one."""
    root = Path(limbeck.errors.__file__).parents[2]
    if not (root / ".git").exists():
        return None
    done = subprocess.run(
        ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None
