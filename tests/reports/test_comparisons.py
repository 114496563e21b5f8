"""Comparisons of rows: significance, outcomes and transfer, by small cases."""

from typing import Any

import pytest

from bench.errors import RecordError
from bench.reports.layouts import DASH
from bench.reports.tables import render_tables
from tests.reports.conftest import MakeResults, field, fields


def rows_right(number: int) -> list[bool]:
    return [place < number for place in range(40)]


def test_intervals_marks_and_transfer_by_hand(make_results: MakeResults) -> None:
    """dtvg answers 20 more of 40 rows than pt on rte; equally many on cb; 2 fewer on wic."""
    right = {"rte": (10, 30), "cb": (20, 20), "wic": (22, 20)}
    runs = [
        {"task": task, "row": name, "seed": seed, "right": rows_right(number)}
        for task, numbers in right.items()
        for name, number in zip(("pt", "dtvg"), numbers, strict=True)
        for seed in (1, 2)
    ]
    results = make_results(*runs)
    one = field(fields(results, "glue-superglue"), row="dtvg", column="rte")
    assert (one["mean"], one["difference"], one["mark"]) == (75.0, 50.0, "†")
    assert one["p_holm"] == pytest.approx(3 * one["p_value"])
    found = fields(results, "transfer")
    numbers = {f["column"]: f["number"] for f in found if f["kind"] == "summary"}
    assert numbers["targets"] == "3"
    assert numbers["mean difference"] == "+15.0"
    assert [numbers[name] for name in ("win", "tie", "loss")] == ["1", "1", "1"]
    assert [numbers[name] for name in ("wins", "losses")] == ["1", "0"]
    target = field(found, kind="target", row="wic", column="dtvg")
    assert target["difference"] == -5.0
    assert target["ci_low"] <= -5.0 <= target["ci_high"]
    with pytest.raises(RecordError, match=r"nothing to compare with 'mpt'.*dtvg"):
        render_tables(results, "markdown", "transfer", against="mpt")


def test_settings_with_other_test_rows_are_tested_apart(make_results: MakeResults) -> None:
    """Runs of another data seed or limit answer other rows; each setting has its marks."""
    runs = [
        {"task": "rte", "row": row, "data_seed": seed, "test_rows": limit, "right": right}
        for seed, limit in ((1, None), (2, None), (1, 30))
        for row, number in (("pt", 5), ("dtvg", 25))
        for right in [rows_right(number)[:limit]]
    ]
    found = fields(make_results(*runs), "glue-superglue")
    marks = [one["mark"] for one in found if one["row"] == "dtvg" and one["column"] == "rte"]
    assert marks == ["†"] * 3


def test_nothing_is_called_insignificant_that_was_not_tested(make_results: MakeResults) -> None:
    runs = [{"task": task, "row": row} for task in ("rte", "cb") for row in ("pt", "dtvg")]
    found = fields(make_results(*runs), "transfer")
    numbers = {one["column"]: one["number"] for one in found if one["kind"] == "summary"}
    assert (numbers["wins"], numbers["losses"]) == (DASH, DASH)


def test_outcomes_and_ranks_follow_the_means_as_shown(make_results: MakeResults) -> None:
    scores = {"rte": (50.04, 49.96), "cb": (50.04, 50.06), "wic": (50.0, 60.0)}
    runs = [
        {"task": task, "row": row, "score": score, "shots": None}
        for task, pair in scores.items()
        for row, score in zip(("pt", "dtvg"), pair, strict=True)
    ]
    found = fields(make_results(*runs), "summary")
    one = {each["column"]: each.get("number") for each in found if each["row"] == "dtvg"}
    assert one["W/T/L"] == "2/1/0"  # 50.0 and 50.0; 50.1 and 50.0; 60.0 and 50.0.
    assert one["rank"] == "1.17"


def test_seeds_that_lack_a_partner_are_told(make_results: MakeResults) -> None:
    runs: list[dict[str, Any]] = [{"seed": seed} for seed in (1, 2, 3)]
    results = make_results(*runs, {"seed": 1, "row": "mpt"}, {"seed": 2, "row": "mpt"})
    found = fields(results, "transfer")
    assert field(found, kind="target", row="mrpc", column="mpt")["note"] == "(n=2)"
    assert (
        "(n=…): fewer than 3 seeds finished." in render_tables(results, "markdown", "transfer")[0]
    )


def test_only_the_table_metric_of_a_task_is_tested(make_results: MakeResults) -> None:
    scores = {".scores.table_metric": "bleu", ".scores.test": {"bleu": 10.0, "rouge1": 20.0}}
    runs = [{"task": "e2e", "row": row} | scores for row in ("pt", "dtvg")]
    found = fields(make_results(*runs), "nlg")
    compared = [one["column"] for one in found if "difference" in one]
    assert compared == ["bleu"]
    assert field(found, row="dtvg", column="rouge1")["mean"] == 20.0


def test_predictions_that_do_not_give_the_score_are_not_used(make_results: MakeResults) -> None:
    first = {"task": "rte", "label": "spot", "right": rows_right(9)}
    results = make_results(first, {"task": "rte", "right": rows_right(30), "score": 10.0})
    text, warnings = render_tables(results, "markdown", "glue-superglue")
    assert "No marks" in text
    assert len(warnings) == 1
    assert "give accuracy 75.0000, the record says 10.0000" in warnings[0]
