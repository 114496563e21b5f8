"""``bench plot`` and ``bench report`` through the entry point."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from bench.cli import main
from bench.reports.figures import figure_names, registry

GOLDEN = Path(__file__).parents[1] / "reports" / "golden" / "records"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder, where the commands run."""
    shutil.copytree(GOLDEN, tmp_path / "out" / "records")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "out"


@pytest.fixture
def one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes time, and one figure is like another for the commands."""
    monkeypatch.setattr(registry, "figure_names", lambda: ("parameters",))


def bench(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.usefixtures("folder")
def test_all_figures(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(monkeypatch, "plot", "all", "out") == 0
    captured = capsys.readouterr()
    named = {Path(line) for line in captured.out.splitlines()}
    assert named == set(Path("out/figures").iterdir())
    assert {path.suffix for path in named} == {".pdf", ".png"}
    figures = {re.sub(r"-\d.*", "", path.stem) for path in named}
    assert figures == {"few-shot", "learning-curves", "parameters"}
    missing = captured.err.splitlines()
    assert [line.split(" holds ")[0] for line in missing] == ["warning: out"] * len(missing)
    assert any("bench run --method dtvg" in line for line in missing)


@pytest.mark.usefixtures("folder")
def test_one_figure_in_one_format_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("plot", "parameters", "out", "--out", "there", "--format", "pdf")
    assert bench(monkeypatch, *words) == 0
    named = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert named == sorted(Path("there").iterdir())
    assert {path.suffix for path in named} == {".pdf"}


def test_every_figure_is_named_in_the_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(monkeypatch, "plot", "--help") == 0
    said = "".join(capsys.readouterr().out.split())  # Lines break at hyphens.
    assert all(name in said for name in figure_names())


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("plot", "groups", "out"), "error: out holds no finished cell of a method that groups"),
        (("plot", "group", "out"), "error: unknown figure 'group': did you mean groups?"),
        (("plot", "all", "nowhere"), "error: no results folder nowhere"),
        (("report", "nowhere", "--html", "page.html"), "error: no results folder nowhere"),
        (("report", "out"), "error: say what to write: --html FILE for one page, or --out FOLDER"),
        (("report", "out", "--html", "out/records"), "error: cannot write out/records"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_complaints_are_one_line(
    words: tuple[str, ...],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert bench(monkeypatch, *words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(complaint)


@pytest.mark.usefixtures("one_figure")
def test_report(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "records" / "bad.json").write_text("{")
    assert bench(monkeypatch, "report", "out", "--html", "new/page.html") == 0
    captured = capsys.readouterr()
    assert captured.out == f"{Path('new/page.html')}\n"
    assert "bad.json" in captured.err
    text = Path("new/page.html").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "bad.json" in text


@pytest.mark.usefixtures("one_figure")
def test_everything_twice_is_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in ("once", "again"):
        assert bench(monkeypatch, "report", "out", "--out", place) == 0
    once, again = (
        {path.relative_to(place): path.read_bytes() for path in Path(place).rglob("*.*")}
        for place in ("once", "again")
    )
    assert once == again
    named = {Path(line) for line in capsys.readouterr().out.splitlines()}
    assert named == {Path(place) / path for place in ("once", "again") for path in once}
    tables = {path.name for path in once if path.parent == Path("tables")}
    names = ("all-tasks", "glue-superglue", "mrqa-others", "ablation", "parameters", "transfer")
    assert tables >= {f"{n}.{kind}" for n in names for kind in ("md", "tex", "csv", "json")}
    golden = GOLDEN.with_name("table.md").read_bytes()
    assert once[Path("tables/all-tasks.md")] == golden
    assert Path("index.html") in once
    assert bench(monkeypatch, "report", "out", "--html", "page.html") == 0
    assert Path("page.html").read_bytes() == once[Path("index.html")]
    assert {path.suffix for path in once if path.parent == Path("figures")} == {".pdf", ".png"}


@pytest.mark.usefixtures("one_figure")
def test_everything_again_leaves_no_file_of_records_that_are_gone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(monkeypatch, "report", "out", "--out", "there") == 0
    capsys.readouterr()
    there = Path("there")
    stale = sorted(there.glob("tables/transfer.*"))
    assert stale
    changed, *_ = stale
    changed.write_text("mine")
    own = [there / "tables" / "notes.md", there / "figures" / "sketch.pdf", there / "all.txt"]
    for path in own:
        path.write_text("mine")
    for record in (folder / "records").glob("*.json"):
        if json.loads(record.read_bytes())["cell"]["method"]["name"] != "pt":
            record.unlink()
    assert bench(monkeypatch, "report", "out", "--out", "there") == 0
    written = {Path(line) for line in capsys.readouterr().out.splitlines()}
    assert set(stale).isdisjoint(written)
    left = {path for path in there.rglob("*") if path.is_file()}
    assert left == written | {changed, *own}
    assert {path.read_text() for path in (changed, *own)} == {"mine"}


@pytest.mark.parametrize(
    "contents",
    [
        "[]",
        "{",
        '{"files": 3}',
        '{"files": {"../mine.md": "SHA", "/mine.md": "SHA", "tables/../../mine.md": "SHA"}}',
    ],
)
@pytest.mark.usefixtures("folder", "one_figure")
def test_a_list_of_files_that_is_not_its_own_removes_nothing(
    contents: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Path("mine.md")
    mine.write_text("mine")
    sha256 = hashlib.sha256(mine.read_bytes()).hexdigest()
    Path("there").mkdir()
    Path("there/contents.json").write_text(contents.replace("SHA", sha256))
    assert bench(monkeypatch, "report", "out", "--out", "there") == 0
    assert mine.read_text() == "mine"
