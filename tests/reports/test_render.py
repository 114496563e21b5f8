"""The golden folder: hand-made records, and the exact text they give in each format."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from bench.errors import RecordError
from bench.reports import FORMATS, Format, Results, load_results, render_tables

ORDER = ("pt", "spot", "attempt", "mpt", "dtvg")
FILES: dict[Format, str] = {
    "markdown": "table.md",
    "latex": "table.tex",
    "csv": "table.csv",
    "json": "table.json",
}


@pytest.fixture(scope="module")
def results(golden: Path) -> Results:
    return load_results(golden)


@pytest.mark.parametrize("format", FORMATS)
def test_golden_text(results: Results, golden: Path, format: Format) -> None:
    expected = (golden / FILES[format]).read_text(encoding="utf-8")
    assert render_tables(results, format, method_order=ORDER) == expected


def test_golden_numbers_by_hand(results: Results) -> None:
    # pt mrpc 60 62 64: mean 62, deviations -2 0 2, variance 8/2 = 4.
    # pt cola -5 1 10: mean 2, deviations -7 -1 8, variance 114/2 = 57.
    # pt yelp_polarity 50 50 53: mean 51, deviations -1 -1 2, variance 6/2 = 3.
    # dtvg mrpc 70 71 and one failure: mean 70.5, variance 0.5; cola only 12; yelp only a failure.
    expected = {
        ("pt", "mrpc"): (62.0, 4**0.5, "3"),
        ("pt", "cola"): (2.0, 57**0.5, "3"),
        ("pt", "yelp_polarity"): (51.0, 3**0.5, "3"),
        ("dtvg", "mrpc"): (70.5, 0.5**0.5, "2"),
        ("dtvg", "cola"): (12.0, None, "1"),
        ("dtvg", "yelp_polarity"): (None, None, "0"),
        ("majority class", "mrpc"): (66.5, None, "3"),
        ("majority class", "cola"): (0.0, None, "3"),
        ("majority class", "yelp_polarity"): (50.0, None, "3"),
        ("pt", "stsb"): (81.26, None, "1"),
    }
    lines = list(csv.DictReader(io.StringIO(render_tables(results, "csv"))))
    assert len(lines) == len(expected)
    for line in lines:
        mean, std, seeds = expected[line["label"], line["task"]]
        assert line["n_seeds"] == seeds
        assert (float(line["mean"]) if line["mean"] else None) == pytest.approx(mean, abs=1e-12)
        assert (float(line["std"]) if line["std"] else None) == pytest.approx(std, abs=1e-12)
    tables = json.loads(render_tables(results, "json"))["tables"]
    averages = {row["label"]: row["average"] for row in tables[0]["rows"]}
    assert averages["pt"] == pytest.approx((62 + 2 + 51) / 3, abs=1e-12)
    assert averages["dtvg"] is None
    assert averages["majority class"] == pytest.approx((66.5 + 0 + 50) / 3, abs=1e-12)
    # Of 2 methods x 3 tasks x 3 seeds, dtvg lacks cola 43, 44 and yelp_polarity 43, 44.
    assert (tables[0]["failed"], tables[0]["missing"]) == (2, 4)


def test_text_does_not_depend_on_the_order_of_records(results: Results) -> None:
    turned = Results(results.folder, results.records[::-1], ())
    for format in FORMATS:
        assert render_tables(turned, format) == render_tables(results, format)


@pytest.mark.parametrize("format", FORMATS)
def test_every_table_says_what_it_rests_on(results: Results, format: Format) -> None:
    text = render_tables(results, format)
    for fact in ("tiny", "seeded random weights", "bundled samples", "smoke", "accuracy", "204"):
        assert fact in text


def test_rows_follow_the_method_order_then_the_name(results: Results) -> None:
    def labels(*order: str) -> list[str]:
        text = render_tables(results, "json", tasks=["mrpc"], method_order=order)
        return [row["label"] for row in json.loads(text)["tables"][0]["rows"]]

    assert labels() == ["dtvg", "pt", "majority class"]
    assert labels("pt") == ["pt", "dtvg", "majority class"]


def test_columns_can_be_chosen(results: Results) -> None:
    (table,) = json.loads(render_tables(results, "json", tasks=["stsb"]))["tables"]
    assert [column["task"] for column in table["columns"]] == ["stsb"]
    with pytest.raises(RecordError, match=r"no readable result record of rte, wic in .*golden"):
        render_tables(results, "json", tasks=["rte", "wic"])


def test_folder_without_records(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no readable result record in"):
        render_tables(load_results(tmp_path))


def test_damaged_record_is_left_out(golden: Path, tmp_path: Path) -> None:
    shutil.copytree(golden / "records", tmp_path / "records")
    damaged = next((tmp_path / "records").glob("stsb-*"))
    damaged.write_bytes(damaged.read_bytes()[:200])
    results = load_results(tmp_path)
    (warning,) = results.warnings
    assert str(damaged) in warning
    assert damaged.exists()
    assert "stsb" not in render_tables(results)
