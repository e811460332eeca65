"""`limbeck`: the verbs, and how they start."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, Final

import typer

from limbeck.cli.failure import DEBUG, guarded
from limbeck.version import VERSION

VERBS: Final[Mapping[str, str]] = {
    "demo": "The whole story on Fashion-MNIST: teacher, student, controls, report.",
    "new": "Write a commented recipe to start from, or list those there are.",
    "check": "Find out what cannot work before any time is spent.",
    "run": "Run a recipe from beginning to end, or on from where it stopped.",
    "label": "Only ask the teacher, and store its answers.",
    "bench": "Time the files of runs, side by side.",
    "compare": "A leaderboard of runs, and which files nothing else beats.",
    "methods": "List the methods with the paper of each, or describe one.",
    "layers": "List a model's layers with the shape of what each gives.",
    "targets": "List, inspect, verify and remove stored teachers' answers.",
    "schema": "Print the JSON Schema of a recipe.",
    "doctor": "Look at versions, threads, the cache and the disk.",
}
"""Verbs in the order of the help; ``limbeck.cli.NAME`` holds the function, or the group, of that name."""

_EPILOG: Final = (
    "Exit codes: 0 done, 1 the gate failed, 2 a mistake to put right, 3 a run that broke, 130 interrupted."
)


def build(wanted: str | None) -> typer.Typer:
    """The command line as a Typer app, of which one verb works.

    Args:
        wanted: The verb whose file is imported; the others are only listed, so that help comes at once.
    """
    app = typer.Typer(
        no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, epilog=_EPILOG
    )
    app.callback()(_options)
    for name, summary in VERBS.items():
        verb = _imported(name) if name == wanted else _listed
        if isinstance(verb, typer.Typer):
            app.add_typer(verb, name=name, short_help=summary)
        else:
            app.command(name, short_help=summary)(verb)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code.

    Args:
        arguments: What stands after ``limbeck``; by default the process's own.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--debug" in given:
        os.environ[DEBUG] = "1"
    given = [argument for argument in given if argument != "--debug"]
    wanted = next((argument for argument in given if not argument.startswith("-")), None)
    build(wanted)(args=given, prog_name="limbeck")


def _imported(name: str) -> Callable[..., None] | typer.Typer:
    found: Any = None

    @guarded
    def fetch() -> None:
        nonlocal found
        found = getattr(import_module(f"limbeck.cli.{name}"), name)

    try:
        fetch()
    except typer.Exit as failed:
        sys.exit(failed.exit_code)
    return found if isinstance(found, typer.Typer) else guarded(found)


def _listed() -> None:
    """Stand in for a verb that was not asked for."""


def _show_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(VERSION)
        raise typer.Exit
    return wanted


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")
    ] = False,
) -> None:
    """Turn a large model into a small one that can be shipped, and prove what was kept."""
