"""`limbeck targets`: the teachers' answers that are kept on this machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limbeck.cli.failure import guarded
from limbeck.cli.table import size, table

if TYPE_CHECKING:
    from limbeck.teachers.store import Summary, Verification

targets = typer.Typer(
    no_args_is_help=True, help="List, inspect, verify, push, pull and remove teachers' answers."
)

Name = Annotated[
    str, typer.Argument(help="A store's name, or the first few characters of it.", metavar="STORE")
]
Url = Annotated[str, typer.Argument(help="Anything that fsspec opens, such as s3://bucket/folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def list_(as_json: AsJson = False) -> None:
    """List the stores, the newest first."""
    from limbeck.teachers.store import list_stores

    found = list_stores()
    if as_json:
        typer.echo(json.dumps([summary.model_dump(mode="json") for summary in found], indent=2))
    elif found:
        columns = ("STORE", "TEACHER", "DATA", "ANSWERED", "SIZE", "STATE")
        typer.echo(table(columns, map(_row, found), right=["ANSWERED", "SIZE"]))
    else:
        typer.echo("No store is kept yet. `limbeck run` and `limbeck label` make them.")


def inspect(store: Name, as_json: AsJson = False) -> None:
    """Show what a store holds and for whom, after comparing every checksum."""
    from limbeck.teachers.store import inspect as looked_at

    found = looked_at(_path(store))
    plain = found.model_dump(mode="json")
    if as_json:
        typer.echo(json.dumps(plain, indent=2))
    else:
        lines = {name: value for name, value in plain.items() if name not in ("key", "problem", "error")}
        for part in ("error", "key"):
            lines |= {f"{part}: {name}": value for name, value in (plain[part] or {}).items()}
        typer.echo(table(("", ""), [(name, _shown(value)) for name, value in lines.items()]).strip())
    if found.problem:
        raise _damaged(found)


def verify(
    store: Name,
    run: Annotated[Path | None, typer.Option(help="A run that uses it: its teacher is asked again.")] = None,
    sample: Annotated[int, typer.Option(min=1, help="How many samples to ask about.")] = 256,
    as_json: AsJson = False,
) -> None:
    """Compare every checksum, and with --run ask the teacher again about some samples and compare."""
    from limbeck.teachers.store import inspect as looked_at

    path = _path(store)
    found = looked_at(path)
    if found.problem:
        raise _damaged(found)
    asked = None if run is None else _asked_again(path, run, sample)
    if as_json:
        facts = {"name": found.name, "held": found.held, "records": found.records, "checksums": True}
        again = None if asked is None else {**asdict(asked), "passed": asked.passed}
        typer.echo(json.dumps({**facts, "asked_again": again}, indent=2))
    else:
        typer.echo(f"{found.name}: {found.held:,} of {found.records:,} samples, every checksum is right.")
    if asked is not None:
        _judge(path, asked, quiet=as_json)


def push(store: Name, url: Url) -> None:
    """Put a store on a URL, for other machines; only what is not there yet travels."""
    from limbeck.teachers.store import push as pushed

    path = _path(store)
    *_, (there, total) = pushed(path, url)
    typer.echo(f"{path.name}: {there} of {total} shards lie at {url}")


def pull(store: Name, url: Url) -> None:
    """Bring a complete store from a URL, comparing every checksum; what is here already stays."""
    from limbeck.errors import StoreError
    from limbeck.teachers.store import pull as pulled
    from limbeck.teachers.store import remote_names

    matching = [name for name in remote_names(url) if name.startswith(store)]
    if len(matching) != 1:
        raise StoreError(
            f"{store!r} fits {len(matching)} stores at {url}. Give the name of one that is there."
        )
    *_, (_, total) = pulled(url, matching[0])
    typer.echo(f"{matching[0]}: all {total} shards are here, every checksum is right.")


def remove(
    store: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False
) -> None:
    """Delete a store; a run that needs it asks its teacher again."""
    from limbeck.teachers.store import remove as delete

    path = _path(store)
    if not yes and not _confirmed(path):
        typer.echo("Nothing is deleted.")
        return
    typer.echo(f"{path.name} is deleted; {size(delete(path))} are free.")


targets.command("list")(guarded(list_))
targets.command("inspect")(guarded(inspect))
targets.command("verify")(guarded(verify))
targets.command("push")(guarded(push))
targets.command("pull")(guarded(pull))
targets.command("remove")(guarded(remove))


def _confirmed(path: Path) -> bool:
    from limbeck.errors import UserError

    try:
        return typer.confirm(f"Delete {path}?", err=True)
    except typer.Abort as error:
        raise UserError(f"{path.name} is not deleted: nobody said yes. Answer y, or add --yes.") from error


def _row(found: Summary) -> tuple[str, ...]:
    answered = f"{found.held:,}/{found.records:,}"
    return found.name, found.teacher, found.data, answered, size(found.bytes), _state(found)


def _state(found: Summary) -> str:
    from limbeck.teachers.store.key import FORMAT

    if found.key and not found.complete:
        return "incomplete"
    if found.format not in (None, FORMAT):
        return f"format {found.format}"
    return "damaged" if found.problem else "complete"


def _shown(value: object) -> str:
    return json.dumps(value) if isinstance(value, (dict, list, bool)) or value is None else str(value)


def _path(name: str) -> Path:
    from limbeck.errors import StoreError, nearest
    from limbeck.teachers.store import list_stores

    stores = {found.name: found.path for found in list_stores()}
    matching = [path for other, path in stores.items() if other.startswith(name)]
    if name in stores:
        return stores[name]
    if (named := Path(name).resolve()) in stores.values():
        return named
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise StoreError(f"{name!r} fits {len(matching)} stores. Give more characters of its name.")
    hint = nearest(name, stores)
    raise StoreError(f"There is no store {name!r}.{hint} `limbeck targets list` shows all {len(stores)}.")


def _damaged(found: Summary) -> Exception:
    from limbeck.errors import StoreError

    return StoreError(f"{found.name}: {found.problem}")


def _asked_again(path: Path, run: Path, sample: int) -> Verification:
    from limbeck.errors import StoreError
    from limbeck.files import read_json
    from limbeck.pipeline.answering import live
    from limbeck.pipeline.arms import TEACHER, assistant_arms
    from limbeck.pipeline.context import Context
    from limbeck.pipeline.folder import RunFolder
    from limbeck.recipe import Asking
    from limbeck.teachers.store import Store
    from limbeck.teachers.store import verify as compare

    if not RunFolder(run).targets(TEACHER).is_file():
        raise StoreError(
            f"{run} is not a run that stored its teacher's answers; give one that did with --run."
        )
    context = Context.reopened(RunFolder(run))
    names = [TEACHER, *(arm.name for arm in assistant_arms(context.recipe))]
    asked = {name: read_json(file) for name in names if (file := context.folder.targets(name)).is_file()}
    answerer = next((name for name, held in asked.items() if held["key"] == path.name), TEACHER)
    asking = Asking.model_validate(asked[answerer]["execution"])
    return compare(
        Store.open(path),
        live(context, asking, answerer),
        context.splits.train,
        context.preprocessing,
        sample=sample,
    )


def _judge(path: Path, result: Verification, *, quiet: bool) -> None:
    from limbeck.errors import StoreError

    differences = "; ".join(
        f"largest difference of {part.part} {part.largest:.2g} {part.unit} (at most {part.tolerance:.2g} expected)"
        for part in result.parts
    )
    same = "" if result.agreement is None else f", same class {result.agreement:.1%}"
    text = f"asked again about {result.asked} samples: {differences}{same}"
    if not result.passed:
        raise StoreError(
            f"{path.name}: {text}. Remove it with `limbeck targets remove {path.name}`, then label again."
        )
    if not quiet:
        typer.echo(text)
