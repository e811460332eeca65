"""The house: a module imports only from its own folder and from those below it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import limbeck

ROOT = Path(limbeck.__file__).parent
ORDER = [
    "version", "environment", "errors", "importing", "threads", "files", "types", "losses", "taps", "data", "models",
    "teachers", "methods", "recipe", "training", "compress", "evaluation", "export", "reports", "pipeline", "search",
    "cli", "__init__", "__main__",
]  # fmt: skip


def layer(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imported_layers(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            if node.module == "limbeck":
                names = [f"limbeck.{alias.name}" for alias in node.names]
            else:
                names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("limbeck.")}
    return found


MODULES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_from_the_layers_below(path: Path) -> None:
    own = ORDER.index(layer(path))
    above = {name for name in imported_layers(path) if ORDER.index(name) > own}
    assert not above, f"{path.relative_to(ROOT)} imports from above itself: {sorted(above)}"


@pytest.mark.parametrize("path", [path for path in MODULES if path.name == "__init__.py"], ids=str)
def test_init_files_only_re_export(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module == "limbeck":
            continue
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        assert docstring or isinstance(node, ast.ImportFrom), f"{path}:{node.lineno} holds logic"
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            assert all(alias.asname == alias.name for alias in node.names), f"{path}:{node.lineno}"
