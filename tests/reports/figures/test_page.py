"""What is in the page, read as any HTML parser reads it."""

import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bench.errors import RecordError
from bench.reports.frame import Results
from bench.reports.page import save
from bench.reports.tables import render_tables
from tests.reports.conftest import MakeResults

HOSTILE = """</script><script>a = 1</script><img src=x onerror="a = 1">'&$x$"""


class Page(HTMLParser):
    """Tags with their attributes, and the texts of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def check(page: Page, results: Results) -> None:
    """What holds for every page: all records, unique anchors, and no address outside."""
    ids = Counter(own["id"] for _, own in page.tags if "id" in own)
    assert set(ids.values()) == {1}
    assert {record.id for record in results.records} <= ids.keys()
    for link in page.all("a"):
        assert (link["href"] or "").removeprefix("#") in ids
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            address = attributes.get(name)
            assert address is None or address.startswith(("#", "data:")), (tag, address)
        assert not [name for name in attributes if name.startswith("on")]
    assert len(page.all("script")) == 1


def test_scores_are_those_of_the_tables(make_results: MakeResults, tmp_path: Path) -> None:
    told = {"history": [{"step": 0, "cosines": {"prompts": {"mnli": -0.25}}}]}
    results = make_results(
        {"seed": 1, "score": 10.0, "rows": 50, ".diagnostics": told},
        {"seed": 2, "score": 30.04},
        {"seed": 1, "score": 50.0, "label": "zzz"},
        {"seed": 2, "status": "failed", "label": "zzz"},
    )
    save(results, tmp_path / "page.html", None)
    page = Page(tmp_path / "page.html")
    check(page, results)
    shown = []
    for layout in ("summary", None, "glue-superglue"):
        text = render_tables(results, "json", layout)
        fields = [field for table in json.loads(text)["tables"] for field in table["fields"]]
        keys = ("mean", "difference", "value")
        shown += [next(f[key] for key in keys if key in f) for f in fields if f.keys() & {*keys}]
    known = [value for value in shown if value is not None]
    values = [float(own["data-value"] or "") for own in page.all("td") if "data-value" in own]
    assert values[: len(known)] == known
    assert 20.02 in [round(value, 9) for value in known]
    linked = {link["href"] for link in page.all("a")}
    assert {f"#{results.records[at].id}" for at in (0, 2)} <= linked
    assert page.all("svg")
    assert "-0.25" in page.texts  # Coordinates are rounded, texts are not.
    said = " ".join(page.texts)
    for words in ("Failed runs (1)", "Bundled model or samples", "Fewer than 100 test rows"):
        assert words in said
    assert "no figure few-shot" in said


def test_text_of_records_is_never_markup(make_results: MakeResults, tmp_path: Path) -> None:
    names = "label task model.name model.note data.name preset .provenance.command"
    foreign: dict[str, Any] = dict.fromkeys((*names.split(), ".provenance.hardware.cpu"), HOSTILE)
    foreign |= {"settings": {HOSTILE: HOSTILE}, ".rows.notes": [HOSTILE]}
    foreign[".diagnostics"] = {"best": {HOSTILE: HOSTILE}}
    foreign[".scores.left_out"] = {HOSTILE: HOSTILE}
    results = make_results(foreign, foreign | {"seed": 9, "status": "failed"})
    save(results, tmp_path / "page.html", None)
    page = Page(tmp_path / "page.html")
    check(page, results)
    assert HOSTILE not in page.source
    assert any(HOSTILE in text for text in page.texts)
    assert page.all("img") == []


def test_warnings(make_results: MakeResults, tmp_path: Path) -> None:
    real = {"rows": 500, "model.bundled": False, "data.kind": "hub"}
    unknown = {".provenance.git_commit": None, ".provenance.git_dirty": None}
    results = make_results(
        {"seed": 1, ".scores.valid_label_share.test": 0.0, ".provenance.git_dirty": True} | real,
        {"seed": 2, ".provenance.python": "3.10.1"} | unknown | real,
        {"seed": 1, "label": "zzz", ".provenance.git_dirty": False} | real,
    )
    save(results, tmp_path / "page.html", None)
    said = "\n".join(Page(tmp_path / "page.html").texts)
    assert "answers are labels of the task (1)" in said
    assert "mrpc pt 16 shots seed 1: 0%" in said
    assert "Uncommitted changes or no git checkout: the code is not known (2)" in said
    assert "table 1, zzz on mrpc: 1 seeds missing" in said
    assert "python: 3.10.1" in said
    assert "Bundled" not in said
    assert "Fewer than 100 test rows" not in said


def test_everything(make_results: MakeResults, tmp_path: Path) -> None:
    results = make_results({"seed": 1}, {"seed": 2})
    paths = save(results, None, tmp_path / "out")
    assert sorted(paths) == sorted(p for p in (tmp_path / "out").rglob("*") if p.is_file())
    names = {str(path.relative_to(tmp_path / "out")) for path in paths}
    assert {"index.html", "tables/all-tasks.md", "tables/glue-superglue.tidy.csv"} <= names
    assert {"figures/cost-1.pdf", "figures/cost-1.png"} <= names
    assert "tables/nlg.md" not in names
    text = render_tables(results, "latex", "parameters")
    assert (tmp_path / "out" / "tables" / "parameters.tex").read_text() == text
    save(results, tmp_path / "page.html", None)
    assert (tmp_path / "out" / "index.html").read_bytes() == (tmp_path / "page.html").read_bytes()


def test_no_record(make_results: MakeResults, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no readable record"):
        save(make_results({}).only([]), tmp_path / "page.html", None)
