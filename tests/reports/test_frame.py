"""Which records share a table, and which a row."""

import math
from pathlib import Path
from typing import Any

import pytest

from bench.errors import RecordError
from bench.reports.frame import Results, load_results
from tests.reports.conftest import MakeResults


def rows(results: Results) -> list[list[str]]:
    return [sorted(section.frame["row"].unique()) for section in results.sections]


OTHERS: dict[str, Any] = {"preset": "paper", "model.digest": "f" * 64}
OTHERS |= {"data.kind": "hub", "data.fingerprint": "other rows"}
OTHERS |= {"data.revision": "v2", "data_seed": 7, "shots": 32, "prompt_length": 100}
OTHERS |= {"input_length": 128, "validation_rows": 10, "precision": "bf16", "results": 3}
OTHERS |= {"train_rows": 10, "test_rows": 10, "versions.task": "2"}


@pytest.mark.parametrize(("name", "value"), [*OTHERS.items(), ("shots", None)])
def test_settings_never_mix(make_results: MakeResults, name: str, value: Any) -> None:
    assert len(rows(make_results({}, {"seed": 43, name: value}))) == 2


def test_a_model_and_a_folder_named_in_two_ways_share_a_table(make_results: MakeResults) -> None:
    """A folder is told by its rows: the rte of the second name joins the table of the first."""
    again = {"data.name": "./data/", "model.name": "a copy"}
    results = make_results(
        {}, {"seed": 43} | again, {"task": "rte", "data.fingerprint": "b"} | again
    )
    (section,) = results.sections
    assert section.tasks == ["mrpc", "rte"]
    elsewhere = {"task": "rte", "data.name": "elsewhere", "data.fingerprint": "b"}
    assert len(make_results({}, elsewhere).sections) == 2


def test_seeds_and_failed_runs_share_a_table(make_results: MakeResults) -> None:
    (section,) = make_results({}, {"seed": 43}, {"seed": 44, "status": "failed"}).sections
    assert len(section.records) == 3


def test_full_data_stands_last(make_results: MakeResults) -> None:
    sections = make_results({"shots": None}, {"shots": 100}, {"shots": 16}).sections
    assert [section.setting["shots"] for section in sections] == [16, 100, math.inf]


def test_rows_by_settings_and_version(make_results: MakeResults) -> None:
    results = make_results(
        {"row": "dtvg", "settings": {"grouping": "all", "rate": 0.3}},
        {"row": "dtvg", "settings": {"grouping": "similarity", "rate": 0.3}},
        {"versions.method": "2"},
        {"versions.method": "10"},
    )
    names = ("dtvg [grouping=all]", "dtvg [grouping=similarity]")
    assert rows(results) == [[*names, "pt [version=10]", "pt [version=2]"]]


def test_options_of_the_loop_may_follow_the_task(make_results: MakeResults) -> None:
    short, long = {"training": {"steps": 20}}, {"training": {"steps": 99}}
    assert rows(make_results(short, long | {"task": "rte"})) == [["pt"]]
    assert rows(make_results(short, long)) == [["pt [training.steps=20]", "pt [training.steps=99]"]]


def test_loading(make_results: MakeResults, tmp_path: Path) -> None:
    results = make_results({"seed": 1}, {"seed": 2})
    (tmp_path / "records" / "copy.json").write_bytes((tmp_path / "records/00000.json").read_bytes())
    (tmp_path / "records" / "broken.json").write_text("{")
    again = load_results(tmp_path)
    assert [r.run.seed for r in again.records] == [1, 2]
    assert len(again.warnings) == 2
    assert again.only([results.records[1].id]).frame["seed"].unique().tolist() == [2]
    with pytest.raises(RecordError, match="no result folder"):
        load_results(tmp_path / "nothing")
