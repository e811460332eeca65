"""What may stand at a place of a recipe, looked up in its JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from limbeck.recipe.lines import Path

Node = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON Schema, and the plain data that is held against it."""

    schema: Node
    data: Any

    def names(self, path: Path) -> list[str]:
        """The fields of the map at ``path``: of its kind where it has one, else of every kind."""
        nodes, value = self._reach(path)
        return sorted({name for node in self._fitting(nodes, value) for name in node.get("properties", {})})

    def kinds(self, path: Path) -> list[str]:
        """Every ``kind`` that the map at ``path`` can have."""
        nodes, _ = self._reach(path)
        each = (node.get("properties", {}).get("kind", {}) for node in self._variants(nodes))
        return sorted({kind["const"] for kind in each if "const" in kind})

    def given(self, path: Path) -> list[str]:
        """The names in the map that the document has at ``path``."""
        _, value = self._reach(path)
        return list(map(str, value)) if isinstance(value, Mapping) else []

    def description(self, path: Path) -> str:
        """The first sentence on the field at ``path``, or an empty text."""
        nodes, _ = self._reach(path)
        text = next((node["description"] for node in nodes if "description" in node), "")
        return " ".join(text.split()).split(". ")[0].rstrip(".")

    def example(self, path: Path) -> str | None:
        """An example of the text that belongs at ``path``, where its field has one."""
        nodes, _ = self._reach(path)
        return next((str(node["examples"][0]) for node in nodes if node.get("examples")), None)

    def _reach(self, path: Path) -> tuple[list[Node], Any]:
        nodes: list[Node] = [self.schema]
        value = self.data
        for part in path:
            nodes = [
                below for node in self._fitting(nodes, value) if (below := _below(node, part)) is not None
            ]
            value = _part(value, part)
        return nodes, value

    def _fitting(self, nodes: list[Node], value: Any) -> list[Node]:
        """The variants whose kind is the value's; without a kind, those that share the most names with it."""
        variants = list(self._variants(nodes))
        if not isinstance(value, Mapping):
            return variants
        of_kind = [node for node in variants if "kind" in value and _kind(node) == value["kind"]]
        if of_kind:
            return of_kind
        shared = [len(set(node.get("properties", {})) & set(value)) for node in variants]
        return [node for node, count in zip(variants, shared, strict=True) if count == max(shared)]

    def _variants(self, nodes: list[Node]) -> Iterator[Node]:
        for node in nodes:
            whole = self._resolved(node)
            choices = [*whole.get("oneOf", ()), *whole.get("anyOf", ()), *whole.get("allOf", ())]
            if choices:
                yield from self._variants(choices)
            else:
                yield whole

    def _resolved(self, node: Node) -> Node:
        if "$ref" not in node:
            return node
        found: Node = self.schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        return found


def _below(node: Node, part: str | int) -> Node | None:
    if isinstance(part, int):
        return _mapping(node.get("items"))
    return _mapping(node.get("properties", {}).get(part, node.get("additionalProperties")))


def _mapping(node: Any) -> Node | None:
    return node if isinstance(node, Mapping) else None


def _kind(node: Node) -> Any:
    return node.get("properties", {}).get("kind", {}).get("const")


def _part(value: Any, part: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(part)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return None
