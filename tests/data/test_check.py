"""The check of data against the tasks, with stand-ins for the hub at its one library call."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest

from bench.data import DataSource, open_source
from bench.data.check import TaskReport, check, prefetch
from bench.data.hub import _HTTP_ERROR
from bench.data.sources import Hub
from bench.tasks import list_tasks
from bench.tasks.task import PARQUET_BRANCH, Task

Toy = Callable[..., Task]
Folder = Callable[..., DataSource]
Splits = Mapping[str, list[dict[str, Any]] | Exception]

ROWS = {"train": 4, "validation": 2, "test": 3}


def rows(n: int, **changes: Any) -> list[dict[str, Any]]:
    return [{"sentence": f"row {i}", "label": i % 3} | changes for i in range(n)]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Puts datasets on a hub of our own, by configuration; hands out the list of what is asked."""

    def serve(**configurations: Splits | Exception) -> list[str]:
        asked: list[str] = []

        def load_dataset(path: str, revision: str, split: str, name: str) -> datasets.Dataset:
            asked.append(f"{name}/{split}")
            content = configurations[name]
            found = content if isinstance(content, Exception) else content.get(split)
            if found is None:
                raise ValueError(f'Unknown split "{split}".')
            if isinstance(found, Exception):
                raise found
            return datasets.Dataset.from_list(found)

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return asked

    return serve


@pytest.fixture
def on_hub(toy: Toy) -> Callable[[str], Task]:
    """Toy tasks by configuration, with the row counts of ROWS."""

    def make(name: str) -> Task:
        task = toy(name=name, rows=ROWS)
        return replace(task, hub=replace(task.hub, config=name))

    return make


GOOD: Splits = {"train": rows(4), "validation": rows(2), "test": rows(3, label=-1)}


def test_hub_as_declared(hub: Callable[..., list[str]], on_hub: Callable[[str], Task]) -> None:
    """The test split is counted, but its hidden labels are nobody's fault: no run reads it."""
    hub(good=GOOD)
    (report,) = check(Hub(), [on_hub("good")])
    assert report == TaskReport("good", "abc", expected=ROWS, rows=ROWS)
    assert report.ok


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"train": rows(5)}, "the hub's bad train split has 5 rows, not the 4 expected"),
        ({"test": rows(2)}, "the hub's bad test split has 2 rows, not the 3 expected"),
        (
            {"validation": [{"sentence": "x", "gold": 1}, {"sentence": "y", "gold": 1}]},
            "someone/toy bad validation lacks the column label: bad needs sentence, label",
        ),
        (
            {"test": ValueError("no split")},
            "cannot load someone/toy bad test at revision abc from the hub (ValueError: no split): "
            "name a local folder of bad/<split>.parquet files as the data",
        ),
        (
            {"train": rows(3) + rows(1, label=7)},
            "someone/toy bad train, one faulty row: row 3: task bad: label 7 is none of 0, 1, 2",
        ),
        (
            {"validation": rows(2, label=-1)},
            None,  # Both halves have a faulty row; which one goes where is the shuffle's affair.
        ),
    ],
)
def test_hub_differs(
    hub: Callable[..., list[str]],
    on_hub: Callable[[str], Task],
    changes: Splits,
    difference: str | None,
) -> None:
    hub(bad={**GOOD, **changes}, good=GOOD)
    bad, good = check(Hub(), [on_hub("bad"), on_hub("good")])
    assert not bad.ok
    if difference is not None:
        assert bad.differences == [difference]
    else:
        assert len(bad.differences) == 2
        assert all("task bad: label -1 is none of 0, 1, 2" in text for text in bad.differences)
    assert good.ok


def test_many_faulty_rows_are_counted(toy: Toy, folder: Folder) -> None:
    (report,) = check(folder(train=rows(5, label=9), validation=2), [toy()])
    (difference,) = report.differences
    assert "toy/train.parquet, first of 5 faulty rows: row 0: task toy: label 9" in difference


def test_unreachable_hub_is_asked_once(
    hub: Callable[..., list[str]], on_hub: Callable[[str], Task]
) -> None:
    """Each failed attempt takes half a minute; every task is reported all the same."""
    asked = hub(first=GOOD, second=ConnectionError("no route"), third=GOOD)
    first, second, third = check(Hub(), [on_hub(n) for n in ("first", "second", "third")])
    assert first.ok
    (difference,) = second.differences
    assert "cannot reach the hub for someone/toy second train: name a local folder" in difference
    assert "HF_HUB_OFFLINE=1 (ConnectionError: no route)" in difference
    assert third.differences == ["not tried, as the hub could not be reached"]
    assert asked[-1] == "second/train"


def test_connection_lost_on_the_way(
    hub: Callable[..., list[str]], on_hub: Callable[[str], Task]
) -> None:
    """The HTTP library's own errors are no OSError."""
    assert not issubclass(_HTTP_ERROR, OSError) or _HTTP_ERROR.__module__.startswith("requests")
    hub(lost=_HTTP_ERROR("connection reset"))
    (report,) = check(Hub(), [on_hub("lost")])
    assert "cannot reach the hub" in report.differences[0]


def test_prefetch_loads_every_split(
    hub: Callable[..., list[str]], on_hub: Callable[[str], Task]
) -> None:
    asked = hub(good=GOOD, short={**GOOD, "train": rows(1)})
    good, short = prefetch([on_hub("good"), on_hub("short")])
    assert good.rows == ROWS
    assert good.ok
    assert short.differences == ["the hub's short train split has 1 rows, not the 4 expected"]
    assert asked[:3] == ["good/train", "good/validation", "good/test"]


COMMIT = "a" * 40


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the libraries offline, with empty caches."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.fixture
def cached(cache: Path, offline: None) -> Callable[[str], None]:
    """Lays a dataset into the library's cache at a commit."""

    def lay(commit: str) -> None:
        folder = cache / "someone___toy" / "default" / "0.0.0" / commit
        folder.mkdir(parents=True)
        sizes = {"train": 4, "validation": 2}
        for split, size in sizes.items():
            with datasets.arrow_writer.ArrowWriter(path=str(folder / f"toy-{split}.arrow")) as out:
                for row in rows(size):
                    out.write(row)
                out.finalize()
        info = datasets.Dataset.from_list(rows(1)).info
        info.builder_name, info.dataset_name, info.config_name = "parquet", "toy", "default"
        info.splits = datasets.SplitDict.from_split_dict(
            [datasets.SplitInfo(split, 1, size) for split, size in sizes.items()], "toy"
        )
        info.write_to_directory(str(folder))

    return lay


@pytest.fixture
def pinned(toy: Toy) -> Task:
    task = toy(rows={"train": 4, "validation": 2})
    return replace(task, hub=replace(task.hub, revision=COMMIT))


def test_offline_reads_the_cache(cached: Callable[[str], None], pinned: Task) -> None:
    """With the library's own cache, not a stand-in for it."""
    cached(COMMIT)
    (report,) = check(Hub(), [pinned])
    assert report.differences == []
    assert report.rows == {"train": 4, "validation": 2}


def test_offline_refuses_another_revision(cached: Callable[[str], None], pinned: Task) -> None:
    """The library would take it without a word."""
    cached("b" * 40)
    (report,) = check(Hub(), [pinned])
    (difference,) = report.differences
    assert f"holds it at revision {'b' * 40}, not at {COMMIT}: remove " in difference
    assert "bench data prefetch --task toy" in difference


def test_offline_without_cache(cached: Callable[[str], None], pinned: Task) -> None:
    (report,) = check(Hub(), [pinned])
    (difference,) = report.differences
    assert "is not in the cache of this machine, and HF_HUB_OFFLINE is set" in difference
    assert "\n" not in difference


@pytest.fixture
def on_branch(toy: Toy) -> Task:
    """A configuration of the hub's parquet branch, as scitail and web_nlg are."""
    task = toy(rows={"train": 4, "validation": 2})
    return replace(task, hub=replace(task.hub, revision=PARQUET_BRANCH, config="en"))


def test_offline_reads_the_parquet_branch(
    offline: None, on_branch: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's own cache of it is not found without the hub: the downloaded files are read."""
    (report,) = check(Hub(), [on_branch])
    assert "is not in the cache of this machine" in report.differences[0]

    repository = tmp_path / "hub" / "datasets--someone--toy"
    branch = repository / "refs" / PARQUET_BRANCH
    branch.parent.mkdir(parents=True)
    branch.write_text(COMMIT)
    for split, size in {"train": 4, "validation": 2}.items():
        folder = repository / "snapshots" / COMMIT / "en" / split
        folder.mkdir(parents=True)
        datasets.Dataset.from_list(rows(size)).to_parquet(folder / "0000.parquet")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (report,) = check(Hub(), [on_branch])
    assert report.differences == []
    assert report.rows == {"train": 4, "validation": 2}


def test_local_slices_of_real_data(shared: Path) -> None:
    """Counts are those of the manifest; only newsqa is not there."""
    manifest = json.loads((shared / "data" / "manifest.json").read_text())["tasks"]
    reports = {r.task: r for r in check(open_source(str(shared / "data")), list_tasks())}
    assert len(reports) == 26
    missing = reports.pop("newsqa")
    assert "has no data of newsqa: put train, validation as .parquet" in missing.differences[0]
    for name, report in reports.items():
        assert report.ok, report.differences
        counts = {split: entry["rows"] for split, entry in manifest[name]["splits"].items()}
        assert report.rows == counts
