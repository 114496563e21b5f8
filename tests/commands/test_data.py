"""``bench data`` on the command line: what it prints, and its exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import datasets
import pytest

from bench import plugins
from bench.cli import main


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def bench(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "data" / "rte"
    target.mkdir(parents=True)
    rows = [{"sentence1": "a", "sentence2": "b", "label": i % 2} for i in range(6)]
    for split in ("train", "validation"):
        datasets.Dataset.from_list(rows).to_parquet(target / f"{split}.parquet")
    return target.parent


def test_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    assert bench(monkeypatch, "data", "check", "--data", str(folder), "--task", "rte") == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok       rte            train 6, validation 6",
        "1 of 1 tasks as declared, 0 not",
    ]


def test_every_task_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    chosen = ["--task", "cola", "--task", "rte"]
    assert bench(monkeypatch, "data", "check", "--data", str(folder), *chosen) == 1
    out = capsys.readouterr().out
    assert f"differs  cola\n  ! {folder} has no data of cola" in out
    assert "ok       rte" in out
    assert out.endswith("1 of 2 tasks as declared, 1 not\n")


def test_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    chosen = ["--suite", "glue", "--task", "rte", "--json"]
    assert bench(monkeypatch, "data", "check", "--data", str(folder), *chosen) == 1
    reports = {report["task"]: report for report in json.loads(capsys.readouterr().out)}
    assert len(reports) == 8
    assert [name for name, report in reports.items() if report["ok"]] == ["rte"]
    assert reports["rte"]["rows"] == {"train": 6, "validation": 6}
    assert reports["rte"]["expected"]["train"] == 2490


def test_offline_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    assert bench(monkeypatch, "data", "check", "--task", "cb") == 1
    captured = capsys.readouterr()
    assert captured.err == "HF_HUB_OFFLINE is set: checking only the cache of this machine\n"
    assert "is not in the cache of this machine" in captured.out


def test_prefetch_refuses_offline(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    assert bench(monkeypatch, "data", "prefetch", "--task", "cb") == 2
    assert capsys.readouterr().err.startswith("error: HF_HUB_OFFLINE is set, but fetching data")


def test_prefetch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With another number of rows than the hub has: all are reported, exit code 1."""
    rows = datasets.Dataset.from_list([{"premise": "a", "hypothesis": "b", "label": 0}] * 56)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets, "load_dataset", lambda **arguments: rows)
    assert bench(monkeypatch, "data", "prefetch", "--task", "cb") == 1
    out = capsys.readouterr().out
    assert "! the hub's cb train split has 56 rows, not the 250 expected" in out
    assert "validation split" not in out


def test_unknown_task(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(monkeypatch, "data", "check", "--task", "clola") == 2
    assert capsys.readouterr().err == "error: unknown task 'clola': did you mean cola?\n"


def test_task_of_a_plugin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    example = Path(__file__).parents[2] / "docs" / "extending" / "reviews_task.py"
    (tmp_path / "reviews").mkdir()
    rows = [{"text": "good", "label": 1}, {"text": "bad", "label": 2}]
    for split in ("train", "validation"):
        datasets.Dataset.from_list(rows).to_parquet(tmp_path / "reviews" / f"{split}.parquet")
    arguments = ["--plugin", str(example), "--task", "reviews", "--data", str(tmp_path)]
    assert bench(monkeypatch, "data", "check", *arguments) == 1
    assert "column 'label' holds 2, not a class from 0 to 1" in capsys.readouterr().out
    plugins.use_files([])
