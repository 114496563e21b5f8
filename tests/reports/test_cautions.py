"""Each warning appears where it should, and only there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.reports import Results, load_results
from bench.reports.cautions import Caution, find_cautions
from bench.reports.sections import make_sections

MakeResults = Callable[..., Results]

REAL: dict[str, Any] = {
    "cell.model.bundled": False,
    "cell.data.kind": "hub",
    "rows.test": 100,
    "scores.valid_label_share.test": 0.9,
}
"""Changes the record of the tests to one that nothing is wrong with."""


def cautions(results: Results) -> dict[str, Caution]:
    found = find_cautions(results, make_sections(results))
    assert len({caution.kind for caution in found}) == len(found)
    return {caution.kind: caution for caution in found}


def test_none(make_results: MakeResults) -> None:
    assert cautions(make_results(*({**REAL, "cell.seed": seed} for seed in (1, 2)))) == {}


@pytest.mark.parametrize(
    ("kind", "change", "detail"),
    [
        ("bundled", {"cell.model.bundled": True}, "model tiny (1 cell)"),
        ("bundled", {"cell.data.kind": "bundled"}, "bundled samples (1 cell)"),
        (
            "failed",
            {"status": "failed"},
            "pt on mrpc, 16 shots, seed 3: RuntimeError: out of memory",
        ),
        ("dirty", {"provenance.git_dirty": True}, "commit 0123abc (1 cell)"),
        ("mixed", {"provenance.versions": {"torch": "9"}}, "torch: 2.13.0 (2 cells), 9 (1 cell)"),
        ("mixed", {"provenance.hardware.gpu": "H100"}, "GPU: H100 (1 cell), none (2 cells)"),
        ("mixed", {"provenance.git_commit": "f" * 40}, f"commit: 0123abc (2 cells), {'f' * 12}"),
        ("mixed", {"cell.code.harness": "ab" * 32}, "harness code: 49f756463ad9 (2 cells)"),
        ("few-test-rows", {"rows.test": 99}, "mrpc: 99 test rows; one is worth 1.0 percentage"),
        (
            "invalid-labels",
            {"scores.valid_label_share.test": 0.89},
            "pt on mrpc, 16 shots, seed 3: 89%",
        ),
        ("left-out", {"scores.left_out": {"meteor": "no WordNet"}}, "meteor: no WordNet (1 cell)"),
        ("notes", {"rows.notes": ["cut short"]}, "mrpc: cut short"),
    ],
)
def test_one_record_is_enough(
    make_results: MakeResults, kind: str, change: dict[str, Any], detail: str
) -> None:
    good = [{**REAL, "cell.seed": seed} for seed in (1, 2)]
    found = cautions(make_results(*good, {**REAL, "cell.seed": 3, **change}))[kind]
    assert any(line.startswith(detail) for line in found.details), found


def test_commit_unknown(make_results: MakeResults) -> None:
    found = cautions(make_results({"provenance.git_commit": None, "provenance.git_dirty": None}))
    assert found["no-commit"].text.startswith("1 cell made outside a git checkout")
    assert "dirty" not in found


def test_missing_and_contradicting_cells(make_results: MakeResults) -> None:
    other = {**REAL, "label": "dtvg"}
    results = make_results(
        {**REAL, "cell.seed": 1},
        {**REAL, "cell.seed": 2},
        {**REAL, "cell.seed": 2, "cell.requires": ["ab" * 32]},
        {**other, "cell.seed": 3},
    )
    found = cautions(results)["missing"]
    assert found.text == "3 cells of the full grid missing, 1 cell with contradicting records."
    assert found.details == (
        "table 1, pt on mrpc: no record of seed 3",
        "table 1, pt on mrpc: records of seed 2 contradict each other",
        "table 1, dtvg on mrpc: no record of seeds 1, 2",
    )


def test_one_seed(make_results: MakeResults) -> None:
    assert cautions(make_results({**REAL, "cell.seed": 5}))["single-seed"].details == (
        "table 1: seed 5",
    )


def test_damaged_files(make_results: MakeResults) -> None:
    results = make_results(REAL)
    (results.folder / "records" / "bad.json").write_text("{")
    found = cautions(load_results(results.folder))["files"]
    assert found.text == "1 file left out."
    assert "bad.json" in found.details[0]
