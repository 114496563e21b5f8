"""Intervals, marks and comparisons: which there are, and what they rest on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import RecordError
from bench.predictions import load_predictions
from bench.reports import Results, load_results
from bench.reports.paper import TableOptions, comparison_sheets, layout_sheets
from bench.reports.sheets import render_sheets
from bench.tasks import SUITES

MakeGrid = Callable[..., Results]
MakeResults = Callable[..., Results]

ORDER = ("pt", "dtvg")
SMALL = {"methods": ("pt", "dtvg"), "seeds": (1, 2), "shots": (None,), "rows": 10}


def test_without_predictions_there_are_neither_intervals_nor_marks(
    make_results: MakeResults,
) -> None:
    results = make_results({"score": 10.0}, {"score": 90.0, "label": "dtvg"})
    (sheet,), _ = layout_sheets(results, "glue-superglue", TableOptions(spread="ci"))
    assert "no interval: no predictions are stored" in sheet.caption
    assert sheet.notes == (
        "No marks for differences to pt: no predictions are stored for such pairs.",
    )
    assert {entry.mark for line in sheet.lines for entry in line.entries} == {""}


@pytest.mark.parametrize(("spread", "after"), [("std", "± 14.1"), ("ci", "")])
def test_the_majority_class_shows_the_spread_that_the_caption_names(
    make_results: MakeResults, spread: Any, after: str
) -> None:
    """What is most frequent among few shots depends on the seed."""
    results = make_results(
        *({"cell.seed": seed, "majority.test.accuracy": 40.0 + 20 * seed} for seed in (0, 1))
    )
    (sheet,), _ = layout_sheets(results, "glue-superglue", TableOptions(spread=spread))
    majority = sheet.lines[-1].entries[5]
    assert (majority.text, majority.after) == ("50.0", after)
    assert ("±" in sheet.caption) == (spread == "std")


def test_marks_can_be_left_out(superglue: Path) -> None:
    results = load_results(superglue)
    (sheet,), _ = layout_sheets(results, "glue-superglue", TableOptions(marks=False))
    assert sheet.notes == ()
    assert {entry.mark for line in sheet.lines for entry in line.entries} == {""}
    assert " ± 7.1" in render_sheets([sheet])


def test_another_reference(superglue: Path) -> None:
    (sheet,), _ = layout_sheets(
        load_results(superglue), "glue-superglue", TableOptions(against="dtvg")
    )
    pt = next(line for line in sheet.lines if line.label == "pt")
    boolq = next(e for e, h in zip(pt.entries, sheet.heads, strict=True) if h.title == "boolq")
    assert (boolq.mark, boolq.values["difference"]) == ("‡", pytest.approx(-35.0))
    (sheet,), _ = layout_sheets(
        load_results(superglue), "glue-superglue", TableOptions(against="mpt")
    )
    assert sheet.notes == ("No row mpt: nothing is compared.",)


def test_nothing_to_show(make_results: MakeResults) -> None:
    results = make_results({"cell.shots": None})
    with pytest.raises(RecordError, match=r"layout few-shot finds no .* with a number of shots on"):
        layout_sheets(results, "few-shot")
    with pytest.raises(RecordError, match=r"layout ablation finds no .* of dtvg on mnli"):
        layout_sheets(results, "ablation")
    with pytest.raises(RecordError, match=r"nothing to compare with 'spot' in .* \(rows: pt\)"):
        comparison_sheets(results, "spot")


@pytest.mark.parametrize(("targets", "verdict"), [(1, "unclear"), (5, "unclear"), (6, "helps")])
def test_few_targets_have_no_verdict(make_results: MakeResults, targets: int, verdict: str) -> None:
    """Without any effect, five targets all go one way once in 16 times."""
    pairs = [
        {"cell.task": task, "label": label, "score": score}
        for task in SUITES["glue"][:targets]
        for label, score in (("pt", 50.0), ("dtvg", 60.0))
    ]
    (summary, _), _ = comparison_sheets(make_results(*pairs), "pt")
    (line, *_) = summary.lines
    count, mean, found, *_ = line.entries
    assert (count.text, mean.text, found.text) == (str(targets), "+10.0", verdict)
    assert mean.after == ("[10.0, 10.0]" if targets > 1 else "")
    assert "at least 6 targets" in summary.notes[0]


def test_predictions_of_another_run_are_not_used(make_grid: MakeGrid, tmp_path: Path) -> None:
    make_grid(tasks=("cb",), **SMALL)
    path = tmp_path / "records" / "0001.json"
    content = json.loads(path.read_text())
    content["scores"]["test"]["accuracy"] += 1.0
    path.write_text(json.dumps(content))
    results = load_results(tmp_path)
    damaged = results.records[-1]
    assert damaged.predictions is not None
    (tmp_path / "records" / damaged.predictions.file).unlink()
    sheets, (first, second) = layout_sheets(results, "glue-superglue", method_order=ORDER)
    assert "the record says" in first
    assert "is missing" in second
    assert all(entry.values.get("ci_low") is None for x in sheets[0].lines for entry in x.entries)


def test_other_test_rows_are_not_compared(make_grid: MakeGrid) -> None:
    def shifted(content: dict[str, Any]) -> None:
        content["digest"] = content["digest"][:-1] + "f"

    results = make_grid(tasks=("cb",), **{**SMALL, "methods": ("pt",)})
    first = load_predictions(results.records_folder, results.records[0])
    assert [example.row for example in first.examples] == list(range(10))
    results = make_grid(tasks=("cb",), change=shifted, first=5, **{**SMALL, "methods": ("dtvg",)})
    sheets, warnings = layout_sheets(results, "glue-superglue", method_order=ORDER)
    assert warnings == ["cells of cb were scored on different test rows: some are not compared"]
    assert sheets[0].notes[0].startswith("No marks for differences to pt")


def test_one_cell_on_other_rows_does_not_spoil_the_rest(make_grid: MakeGrid) -> None:
    def renamed(content: dict[str, Any]) -> None:
        content["digest"] = "f" + content["digest"][1:]

    # The odd one comes first in every order.
    make_grid(
        tasks=("cb",), first=5, change=renamed, **{**SMALL, "methods": ("pt",), "seeds": (0,)}
    )
    results = make_grid(tasks=("cb",), **SMALL)
    sheets, (warning,) = layout_sheets(results, "glue-superglue", method_order=ORDER)
    assert "some are not compared" in warning
    assert "for the one comparison of" in sheets[0].notes[0]
