"""The page in a real browser: desktop and phone, light and dark, with the keyboard alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.reports.figures import registry
from bench.reports.html import save_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.reports import Results

WINDOWS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]

CONTRAST = """(() => {
  const style = getComputedStyle(document.documentElement);
  const part = (name) => {
    const hex = style.getPropertyValue(name).trim();
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => (Math.max(part(a), part(b)) + 0.05) / (Math.min(part(a), part(b)) + 0.05);
  const pairs = ["--ink", "--quiet", "--link"].flatMap((ink) => ["--ground", "--raised"].map(
    (ground) => [ink + " on " + ground, ratio(ink, ground)]));
  return Object.fromEntries([...pairs, ["--ink on --caution", ratio("--ink", "--caution")],
    ["darkness", part("--ground")]]);
})()"""
"""Contrast of text and ground by the definition of the Web Content Accessibility Guidelines."""

WIDTHS = "[document.documentElement.scrollWidth, innerWidth]"

ACTIVE = "document.activeElement"


@pytest.mark.parametrize(("width", "scheme"), WINDOWS)
def test_no_request_and_no_overflow(browser: Any, grid_page: Path, width: int, scheme: str) -> None:
    browser.open(grid_page, width, scheme=scheme)
    content, window = browser.run(WIDTHS)
    assert content <= window == width
    browser.run("document.querySelectorAll('button.open')[30].click()")
    browser.run("document.querySelectorAll('#details details').forEach((d) => { d.open = true; })")
    content, window = browser.run(WIDTHS)
    assert content <= window
    assert browser.run(
        "(() => { const d = document.getElementById('details');"
        " return d.open && d.scrollWidth <= d.clientWidth; })()"
    )
    assert [url for url in browser.requests if not url.startswith("data:")] == [grid_page.as_uri()]
    assert browser.errors == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(browser: Any, grid_page: Path, scheme: str) -> None:
    browser.open(grid_page, scheme=scheme)
    ratios = browser.run(CONTRAST)
    assert (ratios.pop("darkness") < 0.1) == (scheme == "dark")
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5} == {}


def test_sorting_by_keyboard(browser: Any, grid_page: Path) -> None:
    browser.open(grid_page)
    column = """[...document.querySelectorAll('#table-1 tbody tr')].map(
        (row) => Number(row.cells[3].dataset.value))"""
    state = "document.querySelectorAll('#table-1 thead th')[3].getAttribute('aria-sort')"
    values = browser.run(column)
    browser.run("document.querySelectorAll('#table-1 button.sort')[3].focus()")
    assert browser.run(state) is None
    browser.press("Enter")
    assert browser.run(state) == "descending"
    assert browser.run(column) == sorted(values, reverse=True)
    browser.press("Enter")
    assert browser.run(state) == "ascending"
    assert browser.run(column) == sorted(values)
    labels = "[...document.querySelectorAll('#table-1 tbody th')].map((head) => head.textContent)"
    browser.run("document.querySelectorAll('#table-1 button.sort')[0].focus()")
    browser.press("Enter")
    assert browser.run(labels) == sorted(browser.run(labels))
    sorted_heads = "document.querySelectorAll('#table-1 th[aria-sort]').length"
    assert browser.run(sorted_heads) == 1


def test_a_cell_by_keyboard(browser: Any, grid_page: Path) -> None:
    browser.open(grid_page, 390)
    browser.run("document.querySelector('button.open').focus()")
    browser.press("Enter")
    assert browser.run("document.getElementById('details').open")
    assert browser.run(f"{ACTIVE}.textContent") == "pt on cola, 16 shots"
    browser.press("Tab")
    assert browser.run(f"{ACTIVE}.id") == "close"
    said = browser.run("document.getElementById('details').textContent")
    for part in ("42", "43", "44", "validation accuracy (%)", "test answers are wrong", "Command"):
        assert part in said
    browser.press("Escape")
    assert not browser.run("document.getElementById('details').open")
    assert browser.run(f"{ACTIVE}.className") == "open"


def test_the_keyboard_reaches_everything_in_order(browser: Any, grid_page: Path) -> None:
    browser.open(grid_page)
    browser.press("Tab")
    assert browser.run(f"{ACTIVE}.textContent") == "Skip to the content"
    shape = f"(() => {{ const b = {ACTIVE}.getBoundingClientRect(); return [b.top, b.width]; }})()"
    top, width = browser.run(shape)
    assert top >= 0
    assert width > 50
    assert browser.run(f"getComputedStyle({ACTIVE}).outlineStyle") == "solid"
    browser.press("Enter")
    assert browser.run(f"{ACTIVE}.id") == "content"
    order = []
    for _ in range(6):
        browser.press("Tab")
        order.append(browser.run(f"{ACTIVE}.tagName + ' ' + {ACTIVE}.textContent.trim()"))
        assert browser.run(f"getComputedStyle({ACTIVE}).outlineStyle") == "solid"
    assert [name.split()[0] for name in order] == [
        "SUMMARY",
        "SUMMARY",
        "A",
        "DIV",
        "BUTTON",
        "BUTTON",
    ]
    assert order[2] == "A Skip the table"
    assert order[4:] == ["BUTTON method", "BUTTON cola"]
    browser.press("Tab", shift=True)
    assert browser.run(f"{ACTIVE}.textContent") == "method"


def test_hostile_records_run_nothing(
    browser: Any,
    make_results: Callable[..., Results],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attack = '</script><script>window.taken = 1</script><img src=x onerror="window.taken = 1">'
    monkeypatch.setattr(registry, "figure_names", lambda: ("parameters",))
    results = make_results(
        {
            "label": attack,
            "cell.task": attack,
            "provenance.command": attack,
            "cell.method.settings": {attack: attack},
            "diagnostics": {"best": {attack: attack}},
            "rows.notes": [attack],
        }
    )
    save_report(results, tmp_path / "page.html")
    browser.open(tmp_path / "page.html", 390)
    browser.run("document.querySelector('button.sort').click()")
    browser.run("document.querySelector('button.open').click()")
    assert attack in browser.run("document.getElementById('details').textContent")
    assert browser.run("window.taken") is None
    assert browser.run("document.querySelectorAll('#details img, #details script').length") == 0
    content, window = browser.run(WIDTHS)
    assert content <= window
    assert browser.errors == []


def test_the_smoke_grid_stays_small(
    grid_page: Path, grid_folder: Path, read_page: Callable[[str], Any]
) -> None:
    text = grid_page.read_text(encoding="utf-8")
    assert len(text.encode()) < 5_000_000
    read = read_page(text)
    data = json.loads(read.raw["script"][0])
    assert len(data["cells"]) == 780
    assert len(read.tags("img")) == 11
    # Tables by setting, layouts of the paper, and transfer.
    assert len(read.tags("table")) == 2 + 11 + 4
    names = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(names) == len(set(names))
    for link in read.tags("a"):
        assert (link["href"] or "").removeprefix("#") in names
    digests = {path.name.split("-")[-1][:12] for path in grid_folder.glob("records/*.json")}
    assert {cell["digest"] for cell in data["cells"]} == digests
    for cell in data["cells"]:
        assert len(cell["examples"]) == min(cell["wrong"], 7)
        assert cell["test"][cell["metric"]] == pytest.approx(
            100 * (1 - cell["wrong"] / cell["answers"]), abs=0.01
        )
