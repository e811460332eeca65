"""Every way a command can end has its exit code, and no traceback unless it is asked for."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import limbeck.cli
from limbeck.cli.failure import DEBUG, guarded
from limbeck.cli.main import VERBS, build
from limbeck.errors import DataError, GateError, RunError

FOLDER = Path(limbeck.cli.__path__[0])


def ended(verb: Callable[[], None]) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(guarded(verb))
    result = CliRunner().invoke(app, [])
    return result.exit_code, result.stderr


def raising(error: BaseException) -> Callable[[], None]:
    def verb() -> None:
        raise error

    return verb


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (GateError("below the gate"), 1, "below the gate\n"),
        (DataError("no labels"), 2, "no labels\n"),
        (RunError("broke"), 3, "broke\n"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to go on\n"),
        (ZeroDivisionError("oh"), 3, "ZeroDivisionError: oh (run again with --debug for the traceback)\n"),
    ],
)
def test_a_failure_is_one_line_and_its_code(error: BaseException, code: int, said: str) -> None:
    assert ended(raising(error)) == (code, said)


def test_debug_shows_the_traceback_and_keeps_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEBUG, "1")
    code, said = ended(raising(DataError("no labels")))
    assert code == 2
    assert "Traceback" in said


def test_help_lists_every_verb_and_the_exit_codes() -> None:
    result = CliRunner().invoke(build(None), ["--help"])
    assert result.exit_code == 0
    assert all(verb in result.stdout for verb in VERBS)
    assert "1 the gate failed" in result.stdout


@pytest.mark.parametrize("arguments", [["nothing"], ["--nothing"], ["new", "a", "b"]])
def test_a_wrong_command_line_is_the_users_mistake(arguments: list[str]) -> None:
    assert CliRunner().invoke(build(arguments[0]), arguments).exit_code == 2


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_file_with_a_function_or_group_of_its_name(verb: str) -> None:
    tree = ast.parse((FOLDER / f"{verb}.py").read_text())
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assigned = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert verb in defined | assigned


def test_the_command_line_itself_imports_nothing_slow() -> None:
    for name in ("main", "failure"):
        tree = ast.parse((FOLDER / f"{name}.py").read_text())
        modules = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
        ours = {module for module in modules if module and module.startswith("limbeck.")}
        assert ours <= {"limbeck.cli.failure", "limbeck.errors", "limbeck.version"}
