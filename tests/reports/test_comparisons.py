"""Comparisons of rows: significance, outcomes and transfer, by small cases."""

import io

import pandas as pd
import pytest

from bench.errors import ConfigError
from bench.reports.layouts import DASH
from bench.reports.tables import render_tables
from tests.reports.conftest import MakeResults, by_task, field, fields


def test_intervals_marks_and_transfer_by_hand(make_results: MakeResults) -> None:
    """dtvg answers 20 more of 40 rows than pt on rte; equally many on cb; 2 fewer on wic."""
    right = {"rte": (10, 30), "cb": (20, 20), "wic": (22, 20)}
    runs = by_task(("pt", "dtvg"), right, "right")
    results = make_results(*(run | {"seed": seed} for run in runs for seed in (1, 2)))
    one = field(fields(results, "glue-superglue"), row="dtvg", column="rte")
    assert (one["mean"], one["difference"], one["mark"]) == (75.0, 50.0, "†")
    assert one["p_holm"] == pytest.approx(3 * one["p_value"])
    table = pd.read_csv(io.StringIO(render_tables(results, "csv", "glue-superglue")))
    assert table.set_index("method").loc["dtvg", "rte mark"] == "†"
    found = fields(results, "transfer")
    numbers = {f["column"]: f["number"] for f in found if f["kind"] == "summary"}
    outcomes = {"win": "1", "tie": "1", "loss": "1", "wins": "1", "losses": "0"}
    assert ({"targets": "3", "mean difference": "+15.0"} | outcomes).items() <= numbers.items()
    target = field(found, kind="target", row="wic", column="dtvg")
    assert target["difference"] == -5.0
    assert target["ci_low"] <= -5.0 <= target["ci_high"]
    for layout in (None, "glue-superglue", "summary", "transfer"):
        with pytest.raises(ConfigError, match=r"unknown row 'ptt': did you mean pt"):
            render_tables(results, "markdown", layout, against="ptt")
    text = render_tables(results, "markdown", against="dtvg")
    assert text == render_tables(results, "markdown", against="dtvg", marks=True)
    assert text == render_tables(results, "markdown", against="DTVG")
    assert text != render_tables(results, "markdown")


def test_settings_with_other_test_rows_are_tested_apart(make_results: MakeResults) -> None:
    """Runs of another data seed or limit answer other rows; each setting has its marks."""
    runs = [
        {"task": "rte", "row": row, "data_seed": seed, "test_rows": limit, "rows": limit or 40}
        | {"right": right}
        for seed, limit in ((1, None), (2, None), (1, 30))
        for row, right in (("pt", 5), ("dtvg", 25))
    ]
    found = fields(make_results(*runs), "glue-superglue")
    marks = [one["mark"] for one in found if one["row"] == "dtvg" and one["column"] == "rte"]
    assert marks == ["†"] * 3


def test_nothing_is_called_insignificant_that_was_not_tested(make_results: MakeResults) -> None:
    """A difference that is shown as 0.0 is a tie."""
    scores = {"rte": (50.0, 50.04), "cb": (50.0, 50.06)}
    found = fields(make_results(*by_task(("pt", "dtvg"), scores)), "transfer")
    numbers = {one["column"]: one["number"] for one in found if one["kind"] == "summary"}
    assert (numbers["wins"], numbers["losses"]) == (DASH, DASH)
    assert [numbers[outcome] for outcome in ("win", "tie", "loss")] == ["1", "1", "0"]


def test_ranks_and_outcomes_by_hand(make_results: MakeResults) -> None:
    """Both follow the means as shown: on wic, 50.0 of pt and of spot, and 50.1 of mpt."""
    scores = {"mnli": (50.0, 60.0, 70.0), "rte": (40.0, 40.0, 45.0), "cb": (90.0, 95.0, 10.0)}
    scores |= {"wic": (50.04, 49.96, 50.06)}
    found = fields(make_results(*by_task(("pt", "spot", "mpt"), scores)), "summary")
    ranks = {"pt": [3, 2.5, 2, 2.5], "spot": [2, 2.5, 1, 2.5], "mpt": [1, 1, 3, 1]}
    for row, own in ranks.items():
        assert field(found, row=row, column="rank")["number"] == f"{sum(own) / 4:.2f}"
    assert field(found, row="spot", column="W/T/L")["number"] == "2/2/0"
    assert field(found, row="mpt", column="W/T/L")["number"] == "3/0/1"


def test_seeds_that_lack_a_partner_are_told(make_results: MakeResults) -> None:
    seeds = [("pt", 1), ("pt", 2), ("pt", 3), ("mpt", 1), ("mpt", 2)]
    results = make_results(*({"row": row, "seed": seed} for row, seed in seeds))
    found = fields(results, "transfer")
    assert field(found, kind="target", row="mrpc", column="mpt")["note"] == "(n=2)"
    text = render_tables(results, "markdown", "transfer")
    assert "(n=…): fewer than 3 seeds finished." in text


def test_only_the_table_metric_of_a_task_is_tested(make_results: MakeResults) -> None:
    scores = {".scores.table_metric": "bleu", ".scores.test": {"bleu": 10.0, "rouge1": 20.0}}
    runs = [{"task": "e2e", "row": row} | scores for row in ("pt", "dtvg")]
    found = fields(make_results(*runs), "nlg")
    compared = [one["column"] for one in found if "difference" in one]
    assert compared == ["bleu"]
    assert field(found, row="dtvg", column="rouge1")["mean"] == 20.0


def test_predictions_that_do_not_give_the_score_are_not_used(make_results: MakeResults) -> None:
    runs = {"task": "rte", "label": "spot", "right": 9}, {"task": "rte", "right": 30, "score": 10.0}
    results = make_results(*runs)
    assert "No marks" in render_tables(results, "markdown", "glue-superglue")
    (warning,) = results.bootstrap.warnings
    assert "give accuracy 75.0000, the record says 10.0000" in warning
