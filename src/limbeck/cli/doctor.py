"""`limbeck doctor`: whether this machine is ready, and what to change."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from limbeck.cli.table import size, table

_NEEDED: Final = (
    *("torch", "numpy", "scipy", "scikit-learn", "pydantic", "PyYAML", "safetensors"),
    *("onnx", "onnxscript", "onnxruntime", "Pillow", "psutil"),
)
_LEAST_BYTES: Final = 2 * 10**9
_MARKS: Final = {"ok": "ok", "note": "note", "problem": "PROBLEM"}


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: Literal["ok", "note", "problem"]
    text: str


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Look at versions, threads, the cache and the disk; exit code 2 where something would not work."""
    found = [*_versions(), *_threads(), *_accelerator(), *_places(), *_tools()]
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(check) for check in found], indent=2))
    else:
        typer.echo(
            table(("", "", ""), [(check.name, _MARKS[check.state], check.text) for check in found]).strip()
        )
    if any(check.state == "problem" for check in found):
        raise typer.Exit(2)


def _versions() -> Iterator[Check]:
    from limbeck.version import VERSION

    yield Check("limbeck", "ok", VERSION)
    yield Check("python", "ok", sys.version.split()[0])
    for package in _NEEDED:
        try:
            yield Check(package, "ok", version(package))
        except PackageNotFoundError:
            yield Check(package, "problem", f"not installed; pip install {package}")


def _threads() -> Iterator[Check]:
    import torch

    from limbeck.threads import cores

    yield Check("cores", "ok", f"{cores()} usable; torch uses {torch.get_num_threads()}")
    yield _dynamic()
    policy = os.environ.get("OMP_WAIT_POLICY", "")
    if policy.lower() == "passive":
        yield Check("OMP_WAIT_POLICY", "ok", policy)
    else:
        yield Check(
            "OMP_WAIT_POLICY", "note", f"{policy or 'not set'}; passive is faster with several processes"
        )
    if threads := os.environ.get("OMP_NUM_THREADS"):
        yield Check(
            "OMP_NUM_THREADS", "note", f"{threads}; the plan measures 1 and all usable cores whatever it says"
        )


def _dynamic() -> Check:
    value = os.environ.get("OMP_DYNAMIC", "")
    if value.lower() in ("true", "1"):
        return Check("OMP_DYNAMIC", "problem", f"{value} can hang a training; unset it")
    return Check("OMP_DYNAMIC", "ok", value or "not set")


def _accelerator() -> Iterator[Check]:
    import torch

    found = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none; device: cpu is the default"
    yield Check("GPU", "ok", found)


def _places() -> Iterator[Check]:
    from limbeck.files import cache_home

    yield _writable("cache", cache_home())
    yield _writable("here", Path.cwd())


def _writable(name: str, place: Path) -> Check:
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            free = shutil.disk_usage(place).free
    except OSError as error:
        cure = "set LIMBECK_CACHE to another folder" if name == "cache" else "work in another folder"
        return Check(name, "problem", f"{place} cannot be written ({error.strerror}); {cure}")
    if free < _LEAST_BYTES:
        return Check(
            name, "note", f"{place}, only {size(free)} free; the demo needs about {size(_LEAST_BYTES)}"
        )
    return Check(name, "ok", f"{place}, {size(free)} free")


def _tools() -> Iterator[Check]:
    apt = shutil.which("apt-get") and shutil.which("dpkg-deb")
    system = Path("/usr/share/datasets/fashion-mnist").is_dir()
    text = "installed" if system else "fetched with apt-get" if apt else "fetched from its public home"
    yield Check("Fashion-MNIST", "ok", text)
