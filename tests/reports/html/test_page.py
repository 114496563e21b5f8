"""What is in the page, read as any HTML parser reads it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import RecordError
from bench.reports import Results, load_results
from bench.reports.figures import registry
from bench.reports.frames import build_tables
from bench.reports.html import render_report, save_report
from bench.reports.html.views import sheet_view
from bench.reports.paper import TableOptions, comparison_sheets, layout_sheets

MakeResults = Callable[..., Results]
ReadPage = Callable[[str], Any]

HOSTILE = (
    """</script><script>window.taken = 1</script><img src=x onerror="window.taken = 1">'&$x$"""
)

FOREIGN: dict[str, Any] = {
    "label": HOSTILE,
    "cell.task": HOSTILE,
    "cell.model.name": HOSTILE,
    "cell.model.note": HOSTILE,
    "cell.data.name": HOSTILE,
    "cell.preset": HOSTILE,
    "cell.method.settings": {HOSTILE: HOSTILE},
    "provenance.command": HOSTILE,
    "provenance.platform": HOSTILE,
    "provenance.versions": {HOSTILE: HOSTILE},
    "provenance.hardware.cpu": HOSTILE,
    "rows.notes": [HOSTILE],
    "scores.left_out": {HOSTILE: HOSTILE},
    "diagnostics": {"best": {HOSTILE: HOSTILE}},
}


@pytest.fixture
def one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes time, and one figure is like another for the page."""
    monkeypatch.setattr(registry, "figure_names", lambda: ("parameters", "similarity"))


@pytest.mark.usefixtures("one_figure")
def test_text_of_records_is_never_markup(make_results: MakeResults, read_page: ReadPage) -> None:
    failed = {"label": HOSTILE, "cell.task": HOSTILE, "status": "failed", "cell.seed": 9}
    results = make_results(FOREIGN, failed)
    text = render_report(results)
    read = read_page(text)
    assert len(read.tags("script")) == 2
    assert len(read.tags("img")) == 1
    assert not [name for _, attributes in read.elements for name in attributes if name[:2] == "on"]
    assert any(HOSTILE in said for said in read.texts)
    assert HOSTILE not in text
    data = json.loads(read.raw["script"][0])
    assert data["cells"][0]["label"] == HOSTILE
    assert data["provenances"][0]["command"] == HOSTILE


@pytest.mark.usefixtures("one_figure")
def test_nothing_is_loaded_from_elsewhere(make_results: MakeResults, read_page: ReadPage) -> None:
    read = read_page(render_report(make_results({})))
    for tag, attributes in read.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            address = attributes.get(name)
            assert address is None or address.startswith(("#", "data:")), (tag, address)
    (style,) = read.raw["style"]
    assert not re.search(r"url\(|@import", style)
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|innerHTML", read.raw["script"][1])


@pytest.mark.usefixtures("one_figure")
def test_the_browser_may_run_the_own_script_alone(
    make_results: MakeResults, read_page: ReadPage
) -> None:
    read = read_page(render_report(make_results({})))
    (policy,) = (m["content"] for m in read.tags("meta") if "http-equiv" in m)
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    for kind, texts in (("style", read.raw["style"]), ("script", read.raw["script"][1:])):
        digest = base64.b64encode(hashlib.sha256(texts[0].encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"


@pytest.mark.usefixtures("one_figure")
def test_equal_records_give_equal_pages(make_results: MakeResults, tmp_path: Path) -> None:
    results = make_results({"cell.seed": 1}, {"cell.seed": 2, "score": 30.0})
    for name in ("a.html", "b.html"):
        save_report(load_results(results.folder), tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.usefixtures("one_figure")
def test_no_record(make_results: MakeResults) -> None:
    with pytest.raises(RecordError, match="no readable result record"):
        render_report(make_results())


@pytest.mark.usefixtures("one_figure")
def test_figures_have_words_or_a_reason(make_results: MakeResults, read_page: ReadPage) -> None:
    read = read_page(render_report(make_results({"score": 62.5})))
    (image,) = read.tags("img")
    alt = image["alt"]
    assert alt is not None
    assert "pt 62.5 %" in alt
    assert any("holds no cosines of prompts and task vectors" in text for text in read.texts)


@pytest.mark.usefixtures("one_figure")
def test_the_numbers_are_those_of_the_tables_and_records(
    make_results: MakeResults,
    read_page: ReadPage,
) -> None:
    results = make_results(
        {"cell.seed": 1, "score": 10.0},
        {"cell.seed": 2, "score": 30.04},
        {"cell.seed": 1, "score": 50.0, "label": "zzz"},
        {"cell.seed": 2, "status": "failed", "label": "zzz"},
    )
    text = render_report(results)
    read = read_page(text)
    (table,) = build_tables(results)
    own = read_page(text[text.index('id="table-1"') : text.index('id="table-1-end"')])
    values = [float(cell["data-value"] or "") for cell in own.tags("td") if "data-value" in cell]
    expected = [v for row in table.rows for v in (row.cells[0].mean, row.average) if v is not None]
    assert values == expected
    data = json.loads(read.raw["script"][0])
    assert [cell.get("test", {}).get("accuracy") for cell in data["cells"]] == [
        10.0,
        30.04,
        50.0,
        None,
    ]
    opened = [button["data-cells"] for button in read.tags("button") if "data-cells" in button]
    assert opened == ["0 1", "2 3"]
    assert data["cells"][3]["error"] == "RuntimeError: out of memory"


def test_cells_without_a_number_have_nothing_to_sort_by(make_results: MakeResults) -> None:
    full = {"cell.shots": None}  # As the published numbers are.
    results = make_results(
        {"score": 40.0} | full, {"label": "other", "status": "failed"} | full,
    )  # fmt: skip
    options = TableOptions(published=True)
    (sheet,), _ = layout_sheets(results, "glue-superglue", options)
    view = sheet_view("x", sheet)
    sheets, _ = comparison_sheets(make_results({}, {"label": "dtvg", "score": 90.0}), "pt")
    views = [view, *(sheet_view(f"x{sheet.number}", sheet) for sheet in sheets)]
    shown = [entry for one in views for line in one.lines for entry in line.entries]
    numbers = [entry for entry in shown if re.fullmatch(r"[-+]?[\d.]+", entry.text)]
    assert len(numbers) > 20
    for entry in numbers:
        assert entry.value == pytest.approx(float(entry.text), abs=0.0501), entry
    others = {entry.text for entry in shown if entry.value is None}
    assert others == {"\N{EN DASH}", "failed", "unclear"}
    assert all(entry.value is None for entry in shown if entry.text in others)
