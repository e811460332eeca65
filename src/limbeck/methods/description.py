"""What the code says of a method: its docstring in parts, its formulas, its state; for pages and terminals."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from limbeck.methods.base import Method, Reads
from limbeck.methods.table import METHODS
from limbeck.methods.wrapping import Modifier

_SECTIONS: Final = ("Helps", "Costs", "References")
_MATH: Final = re.compile(r"^ *\.\. math::((?:.|\n)+?)(?=\n\s*\n|\Z)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Formula:
    """One formula, and in words what it computes."""

    words: str
    tex: str


@dataclass(frozen=True, slots=True)
class Description:
    """A method, as its page shows it. Texts are reStructuredText."""

    name: str
    kind: type[Method]
    summary: str
    text: str
    """What it does, with formulas that are its own."""
    formulas: tuple[Formula, ...]
    """Those of the losses that it is made of."""
    helps: str
    costs: str
    references: str
    reads: Reads
    grows: bool
    keeps_state: bool
    """Whether it has connectors or a state, which are trained or kept along with the student."""
    defaults: Mapping[str, Any]

    @property
    def needs(self) -> str:
        """What it reads, in a sentence."""
        asked = "the teacher's answers" if self.reads.teacher else "no teacher"
        labels = {"none": "no labels", "some": "the labels of those samples that have one"}[self.reads.labels]
        inside = ", and inside the teacher" if self.reads.inside else ""
        few = self.reads.teacher and not self.reads.inside and self.reads.few is not None
        stored = " Stored answers of a few classes do." if few else ""
        return f"It reads {asked} and {labels}{inside}.{stored}"

    @property
    def state(self) -> str:
        """What it adds to a training, in a sentence or two."""
        if not self.keeps_state:
            parts = ["It keeps no state and trains nothing beside the student."]
        elif issubclass(self.kind, Modifier):
            parts = ["It keeps a state of its own, or that of the method inside; the checkpoint holds it."]
        else:
            parts = ["It keeps connectors or a state, which the checkpoint holds."]
        parts.append("What ships is more than the student." if self.grows else "The student ships alone.")
        if self.reads.coupled:
            parts.append(
                "It compares the samples of a batch with each other, so accumulation needs `coupled: gather`."
            )
        return " ".join(parts)


def description(name: str) -> Description:
    """What the code says of a method of the table.

    Args:
        name: Its name there; a name that is not there is a ``KeyError``.
    """
    kind = METHODS[name]
    example = kind.model_validate({})
    parts = _parts(inspect.getdoc(kind) or "")
    summary, _, text = parts[""].partition("\n\n")
    return Description(
        name=name,
        kind=kind,
        summary=" ".join(summary.split()),
        text=text.strip(),
        formulas=tuple(_formulas(kind)),
        helps=parts["Helps"],
        costs=parts["Costs"],
        references=parts.get("References", ""),
        reads=example.reads,
        grows=example.grows,
        keeps_state=kind.init is not Method.init,
        defaults=example.model_dump(mode="json", exclude={"kind"}),
    )


def _parts(docstring: str) -> dict[str, str]:
    """A docstring's sections by name; what stands before them has none."""
    pieces = re.split(rf"^({'|'.join(_SECTIONS)}):\n", docstring, flags=re.MULTILINE)
    found = {"": pieces[0].strip()}
    return found | {
        name: inspect.cleandoc(text) for name, text in zip(pieces[1::2], pieces[2::2], strict=True)
    }


def _formulas(kind: type[Method]) -> Iterator[Formula]:
    """Of the losses that the method's module takes."""
    for part in vars(sys.modules[kind.__module__]).values():
        if inspect.isfunction(part) and part.__module__.startswith("limbeck.losses."):
            docstring = inspect.getdoc(part) or ""
            if found := _MATH.search(docstring):
                yield Formula(" ".join(docstring.split("\n\n")[0].split()), " ".join(found[1].split()))
