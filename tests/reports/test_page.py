"""The page stands alone, escapes what it is given, and does without what may be missing."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from limbeck.errors import DataError
from limbeck.reports import Report, write_page
from limbeck.reports.rendering import embedded, packaged
from limbeck.reports.tables import highlights

_VOID = {"meta", "img", "br", "link", "input", "hr"}
_NASTY = "<script>alert('1')</script>"


class Reader(HTMLParser):
    """What a browser would see: elements, attributes, text, and whether all elements are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.scripts: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        else:
            self.text += data


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text())
    reader.close()
    assert not reader.open
    return reader


@pytest.fixture
def full_page(sample, pictures: NDArray[np.uint8], tmp_path: Path) -> Path:
    write_page(sample(), tmp_path / "report.html", pictures=pictures)
    return tmp_path / "report.html"


def test_nothing_is_loaded_from_outside(full_page: Path) -> None:
    reader = read(full_page)
    for tag, attributes in reader.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
        assert tag not in ("link", "iframe", "object", "base")
    style = packaged("assets/page.css")
    assert "@import" not in style
    assert "url(" not in style
    policy = next(found["content"] for tag, found in reader.tags if tag == "meta" and "http-equiv" in found)
    assert policy is not None
    assert "default-src 'none'" in policy


def test_the_charts_data_is_json_and_complete(full_page: Path) -> None:
    data = json.loads(read(full_page).scripts[0])
    assert set(data) == {"validation", "loss", "size", "latency", "reliability"}
    boxes = {found.get("data-chart") for _, found in read(full_page).tags} - {None}
    assert boxes == set(data)
    assert len(data["validation"]["lines"]) == 12
    assert all(len(line["points"]) <= 160 for line in data["loss"]["lines"])


def test_the_headline_numbers_are_on_the_page(full_page: Path, sample) -> None:
    text = " ".join(read(full_page).text.split())
    for expected in (
        sample().verdict.line,
        "97.4\u202f%",
        "96.9 to 97.8\u202f%",
        "71.0\u202f%",
        "+0.0598",
        "43.9\u202fKB",
    ):
        assert " ".join(expected.split()) in text, expected


def test_text_from_data_is_escaped(sample, tmp_path: Path) -> None:
    report = nasty(sample())
    write_page(report, tmp_path / "page.html")
    reader = read(tmp_path / "page.html")
    assert len(reader.scripts) == 3
    assert not any(_NASTY in script for script in reader.scripts)
    assert reader.text.count(_NASTY) > 10


def nasty(report: Report) -> Report:
    """The report with every free text replaced by something that tries to run."""
    found = report.model_dump(by_alias=True)
    found["name"] = found["summary"] = found["verdict"]["line"] = _NASTY
    found["data"] |= {"classes": [_NASTY], "name": _NASTY}
    for rows, fields in (
        ("per_class", ("name",)),
        ("lost", ("name", "label", "student")),
        ("controls", ("name", "teacher")),
    ):
        for row in found[rows]:
            row |= dict.fromkeys(fields, _NASTY)
    for curve in found["curves"]:
        curve["model"] = _NASTY
    found["warnings"] = found["advice"] = [_NASTY]
    found["provenance"] = {_NASTY: _NASTY}
    return Report.model_validate(found)


def test_a_report_without_optional_parts_has_a_page_without_charts(bare: Report, tmp_path: Path) -> None:
    write_page(bare, tmp_path / "page.html")
    reader = read(tmp_path / "page.html")
    assert "the teacher is too close to zero" in reader.text
    assert not reader.scripts
    assert (tmp_path / "page.html").stat().st_size < 60_000


@pytest.mark.parametrize(
    "changes",
    [
        {"baseline": None, "verdict": None, "controls": []},
        {"exports": []},
        {
            "robustness": {
                "examples": 10,
                "student": {"clean": 0.5, "corrupted": {"noise": [0.4]}, "mean": 0.4},
            }
        },
        {"gate": {"retention": 0.99, "passed": False}},
        {"slices": [{"name": "dark", "accuracy": 0.5}], "out_of_distribution": {"auroc": 0.8}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_each_optional_part_may_be_missing_or_there(changes: dict[str, Any], sample, tmp_path: Path) -> None:
    write_page(sample(**changes), tmp_path / "page.html")
    assert read(tmp_path / "page.html").tags


def test_pictures_come_back_as_they_were(full_page: Path, pictures: NDArray[np.uint8]) -> None:
    sources = [found["src"] or "" for tag, found in read(full_page).tags if tag == "img"]
    assert len(sources) == len(pictures)
    for source, picture in zip(sources, pictures, strict=True):
        image = Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,"))))
        assert np.array_equal(np.asarray(image), picture[..., 0])


def test_pictures_must_be_one_for_each_lost_sample(
    sample, pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="35 pictures for 36"):
        write_page(sample(), tmp_path / "page.html", pictures=pictures[1:])
    with pytest.raises(DataError, match="expected uint8"):
        write_page(sample(), tmp_path / "page.html", pictures=pictures[..., 0])


def test_embedded_json_cannot_end_its_element() -> None:
    value = {"</script><!--": ["&", "\u2028"]}
    text = embedded(value)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_the_chart_library_is_the_one_that_is_noted() -> None:
    note, library = packaged("vendor/echarts/VERSION.txt"), packaged("vendor/echarts/echarts.common.min.js")
    noted = re.search(r"sha256:\s+(\w{64})", note)
    assert noted
    assert noted[1] == hashlib.sha256(library.encode()).hexdigest()
    assert "</script" not in library.lower()
    assert "Apache License" in packaged("vendor/echarts/LICENSE.txt")


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_script_that_draws_the_charts_can_be_parsed(tmp_path: Path) -> None:
    (tmp_path / "charts.js").write_text(packaged("assets/charts.js"))
    done = subprocess.run(["node", "--check", "charts.js"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_weights_alone_are_no_smaller_file(sample) -> None:
    ratios = sample().ratios | {"bytes_safetensors": 500.0}
    [smaller] = [value for value, text in highlights(sample(ratios=ratios)) if text == "smaller file"]
    assert smaller.startswith("63.6")
