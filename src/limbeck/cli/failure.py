"""What the command line says, and returns, when a verb fails."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec

import typer

from limbeck.errors import LimbeckError, RunError

DEBUG: Final = "LIMBECK_DEBUG"
"""The environment variable that ``--debug`` sets."""

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C."""

Parameters = ParamSpec("Parameters")


def guarded(verb: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """The same verb, with every exception turned into one message and its exit code.

    The codes are 0 done, 1 the gate failed, 2 the user's mistake, 3 a run that broke, 130 interrupted. There
    is no traceback unless ``--debug`` is given.
    """

    @wraps(verb)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            verb(*args, **kwargs)
        except (typer.Exit, BrokenPipeError):
            raise
        except (KeyboardInterrupt, typer.Abort) as error:
            raise _ended("interrupted; run the same command again to go on", INTERRUPTED) from error
        except LimbeckError as error:
            raise _ended(str(error), error.exit_code) from error
        except Exception as error:
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            hint = "" if debugging() else " (run again with --debug for the traceback)"
            raise _ended(f"{text}{hint}", RunError.exit_code) from error

    return run


def debugging() -> bool:
    """Whether tracebacks are wanted."""
    return os.environ.get(DEBUG, "") not in ("", "0")


def _ended(message: str, code: int) -> typer.Exit:
    if debugging():
        traceback.print_exc()
    typer.echo(message, err=True)
    return typer.Exit(code)
