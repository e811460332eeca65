"""What a recipe calls a layer: a path, a pattern, a stage, the penultimate features, queries, keys and values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from limbeck.errors import ModelError, nearest
from limbeck.taps.reading import INPUT
from limbeck.taps.tracing import Layer

_ATTENTION: Final = {
    "queries": ("query", "q_proj", "q", "q_lin"),
    "keys": ("key", "k_proj", "k", "k_lin"),
    "values": ("value", "v_proj", "v", "v_lin"),
}
_NUMBERED: Final = re.compile(r"(?P<word>[a-z]+):(?P<number>-?[1-9]\d*)")


def places(layers: Sequence[Layer], expression: str, *, owner: str = "the model") -> list[str]:
    """The places that an expression names, in the order in which they run.

    ``stages.1`` is a layer's output and ``head@in`` its input; ``blocks.*.norm`` every layer that matches;
    ``penultimate`` the input of the last linear layer; ``stages`` the end of every stage and ``stage:2`` of the
    second (``stage:-1`` of the last): a stage is a resolution of a convolutional net, a block of a transformer, a
    hidden layer of a plain net. ``queries:2``, ``keys:2`` and ``values:2`` are the projections of the second
    attention layer.

    Args:
        layers: What :func:`~limbeck.taps.tracing.layers` found.
        expression: As above.
        owner: How an error names the model.

    Returns:
        Names that :func:`~limbeck.taps.reading.tap` takes; at least one.

    Raises:
        ModelError: If there is no such place.
    """
    if expression == "penultimate":
        return [penultimate(layers, owner=owner)]
    if expression == "stages":
        return stages(layers, owner=owner)
    if match := _NUMBERED.fullmatch(expression):
        return [_numbered(layers, match["word"], int(match["number"]), owner)]
    name = expression.removesuffix(INPUT)
    found = sorted((layer for layer in layers if _matches(layer.name, name)), key=lambda layer: layer.ended)
    if not found:
        known = [layer.name for layer in layers]
        raise ModelError(
            f"{owner} has no layer {expression!r}.{nearest(name, known)} Give a path, a pattern such as "
            f"'blocks.*', 'penultimate', 'stages' or 'stage:2'; `limbeck layers MODEL` lists all {len(known)}."
        )
    suffix = INPUT if expression.endswith(INPUT) else ""
    return [layer.name + suffix for layer in found]


def penultimate(layers: Sequence[Layer], *, owner: str = "the model") -> str:
    """Where the last linear layer that gives one row an example takes its features from.

    Raises:
        ModelError: If there is none.
    """
    heads = [layer for layer in layers if layer.kind == "Linear" and len(layer.shape or ()) == 2]
    if not heads:
        raise ModelError(
            f"{owner} has no linear layer that gives one row an example, so nothing is 'penultimate'. Name the layer "
            "whose output you mean; `limbeck layers MODEL` lists them."
        )
    return max(heads, key=lambda layer: layer.ended).name + INPUT


def stages(layers: Sequence[Layer], *, owner: str = "the model") -> list[str]:
    """Where each stage ends; see :func:`places`.

    Raises:
        ModelError: If the model has no parts that could be called so.
    """
    found = _blocks(layers, 3, least=2) or _resolutions(layers) or _blocks(layers, 2, least=1)
    if not found:
        raise ModelError(
            f"{owner} has no stages that can be told from the shapes of its layers. Name the layers; `limbeck "
            "layers MODEL` lists them."
        )
    return found


def attention(layers: Sequence[Layer], makes: str) -> list[str]:
    """The layers that make the queries, the keys or the values of each attention layer, in the order they run.

    Args:
        layers: What :func:`~limbeck.taps.tracing.layers` found.
        makes: ``queries``, ``keys`` or ``values``.

    Returns:
        Their names; none for a model without such layers.
    """
    ends = _ATTENTION[makes]
    fitting = [layer for layer in layers if layer.runs == 1 and layer.name.rsplit(".", 1)[-1] in ends]
    return [layer.name for layer in sorted(fitting, key=lambda layer: layer.ended)]


def keys_beside(queries: str) -> str:
    """The layer that makes the keys for the queries of another, by its usual name.

    Raises:
        ModelError: If the layer of the queries has no usual name.
    """
    path, _, last = queries.rpartition(".")
    named = dict(zip(_ATTENTION["queries"], _ATTENTION["keys"], strict=True))
    if last not in named:
        raise ModelError(
            f"{queries!r} is not what layers that make queries are called, expected a name that ends with "
            f"{', '.join(named)}. Name such a layer; `limbeck layers MODEL` lists them."
        )
    return f"{path}.{named[last]}" if path else named[last]


def shape_at(layers: Sequence[Layer], place: str) -> tuple[int, ...]:
    """The shape of what is read at a place, with the batch.

    Raises:
        ModelError: If there is no such layer, or it does not deal in one tensor.
    """
    known = {layer.name: layer for layer in layers}
    layer = known.get(place.removesuffix(INPUT))
    shape = None if layer is None else layer.takes if place.endswith(INPUT) else layer.shape
    if shape is None:
        raise ModelError(
            f"There is nothing to read at {place!r}.{nearest(place, known)} `limbeck layers MODEL` says which layers "
            "run and give one tensor."
        )
    return shape


def _matches(name: str, pattern: str) -> bool:
    if not any(sign in pattern for sign in "*?["):
        return name == pattern
    same_depth = name.count(".") == pattern.count(".")
    return same_depth and fnmatchcase(name, pattern)


def _numbered(layers: Sequence[Layer], word: str, number: int, owner: str) -> str:
    if word == "stage":
        found, what = stages(layers, owner=owner), "stages"
    elif word in _ATTENTION:
        found, what = attention(layers, word), f"layers that make {word}"
    else:
        kinds = ["stage", *_ATTENTION]
        raise ModelError(
            f"{word}:{number} names no layer; expected one of {', '.join(kinds)} before the colon."
            f"{nearest(word, kinds)}"
        )
    place = number - 1 if number > 0 else len(found) + number
    if not 0 <= place < len(found):
        raise ModelError(f"{owner} has {len(found)} {what}, so there is no {word}:{number}.")
    return found[place]


def _blocks(layers: Sequence[Layer], dimensions: int, *, least: int) -> list[str]:
    """The numbered parts of the outermost container whose parts each give a tensor of so many axes."""
    groups: dict[str, list[Layer]] = {}
    for layer in layers:
        container, _, last = layer.name.rpartition(".")
        if container and last.isdecimal() and layer.runs == 1 and len(layer.shape or ()) == dimensions:
            groups.setdefault(container, []).append(layer)
    fitting = {container: group for container, group in groups.items() if len(group) >= least}
    outermost = min(fitting, key=lambda container: container.count("."), default="")
    return [layer.name for layer in fitting.get(outermost, [])]


def _resolutions(layers: Sequence[Layer]) -> list[str]:
    """For each height and width of the feature maps the layer that ends last, and is not several stages at once."""
    maps = [layer for layer in layers if layer.runs == 1 and len(layer.shape or ()) == 4]
    sizes = sorted({_size(layer) for layer in maps}, reverse=True)
    found: list[str] = []
    for size in [size for size in sizes if size != (1, 1)] or sizes:
        there = sorted((layer for layer in maps if _size(layer) == size), key=lambda layer: layer.ended)
        alone = [layer for layer in there if not any(end.startswith(f"{layer.name}.") for end in found)]
        if alone:
            found.append(alone[-1].name)
    return found


def _size(layer: Layer) -> tuple[int, int]:
    _, _, height, width = layer.shape or (0, 0, 0, 0)
    return height, width
