"""Sources: rows, ids of their content, messages, and the check against the tasks."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pyarrow.parquet as pq
import pytest

import bench.data
from bench.data import DataSource, open_source
from bench.data.sources import Hub
from bench.data.splits import TaskReport, check, prefetch
from bench.errors import DataError
from bench.tasks import TASKS
from bench.tasks.base import PARQUET_BRANCH, Task

Toy = Callable[..., Task]
Folder = Callable[..., DataSource]
COMMIT = "a" * 40
SAMPLES = Path(bench.data.__file__).parent / "samples"
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "samples.json").read_text("utf-8"))
ROWS = {"train": 4, "validation": 2}


def rows(n: int, **changes: Any) -> list[dict[str, Any]]:
    return [{"sentence": f"row {i}", "label": i % 3} | changes for i in range(n)]


def test_fingerprints_read_no_rows() -> None:
    """A grid of finished runs loads none of the heavy libraries."""
    script = (
        "import sys; from bench.data import open_source; from bench.tasks import get_task\n"
        "for name in ('bundled', 'hub'): print(open_source(name).fingerprint(get_task('cola')))\n"
        "sys.exit(str({'torch', 'datasets', 'pyarrow', 'pandas'} & set(sys.modules) or ''))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stderr.strip() == ""
    assert len(found.stdout.split()) == 2


def test_local_folder(toy: Toy, folder: Folder) -> None:
    """Its id follows the content of the files, not their times."""
    source = folder(train=4, validation=2)
    file, before = Path(source.name) / "toy" / "train.parquet", source.fingerprint(toy())
    loaded = source.load(toy(), "train")
    assert loaded.column_names == ["sentence", "label", "official_row"]
    assert loaded["sentence"][:] == ["row 0", "row 1", "row 2", "row 3"]
    assert loaded["official_row"][:] == [0, 1, 2, 3]
    assert (source.kind, source.revision(toy())) == ("local", None)
    assert source.splits(toy()) == ("train", "validation")
    stamp = file.stat()
    os.utime(file, (1, 1))
    assert open_source(source.name).fingerprint(toy()) == before
    changed = folder(train=[{"sentence": "new", "label": 1}])
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert changed.fingerprint(toy()) != before
    assert changed.load(toy(), "train")["sentence"][:] == ["new"]


def test_class_labels_are_plain_numbers(toy: Toy, folder: Folder) -> None:
    """Otherwise datasets refuses a label out of range, without a row number."""
    source = folder(validation=1)
    table = datasets.Dataset.from_dict({"sentence": ["x"], "label": [1]})
    table = table.cast_column("label", datasets.ClassLabel(names=["no", "yes"]))
    table.to_parquet(f"{source.name}/toy/train.parquet")
    assert source.load(toy(), "train").features["label"] == datasets.Value("int64")


def test_missing_folder_task_split_column_and_rows(toy: Toy, folder: Folder) -> None:
    source = folder(train=[{"sentence": "x", "idx": 0}])
    empty = datasets.Dataset.from_dict({"sentence": [], "label": []})
    empty.to_parquet(f"{source.name}/toy/validation.parquet")
    attempts: dict[str, Callable[[], object]] = {
        "there is no data folder nowhere: name a folder": lambda: open_source("nowhere"),
        r"cola/\*.parquet is missing: cola": lambda: source.fingerprint(toy(name="cola")),
        r"toy/test.parquet is missing: .* sentence, label$": lambda: source.load(toy(), "test"),
        "train.parquet lacks the column label: toy": lambda: source.load(toy(), "train"),
        "validation.parquet has no rows": lambda: source.load(toy(), "validation"),
        "toy/train.parquet is missing": lambda: open_source("bundled").load(toy(), "train"),
    }
    for message, attempt in attempts.items():
        with pytest.raises(DataError, match=message):
            attempt()


def test_corrupt_parquet(toy: Toy, folder: Folder) -> None:
    source = folder(train=500)
    file = Path(source.name) / "toy" / "train.parquet"
    good, fault = file.read_bytes(), r"^cannot read .*toy/train.parquet \(.*\): write it[^\n]*$"
    for bad in (b"no parquet", good[:200] + good[260:]):
        file.write_bytes(bad)
        with pytest.raises(DataError, match=fault):
            open_source(source.name).load(toy(), "train")


Splits = Mapping[str, "list[dict[str, Any]] | Exception"]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Splits], None]:
    """Puts splits on a hub, at the one library call."""

    def serve(splits: Splits) -> None:
        def load_dataset(path: str, revision: str, split: str) -> datasets.Dataset:
            assert (path, revision) == ("someone/toy", "abc")
            found = splits[split]
            if isinstance(found, Exception):
                raise found
            return datasets.Dataset.from_list(found)

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)

    return serve


GOOD: Splits = {"train": rows(4), "validation": rows(2), "test": rows(3, label=-1)}
EXPECTED = {"train": 4, "validation": 2, "test": 3}


def test_hub_as_declared(toy: Toy, hub: Callable[[Splits], None]) -> None:
    """The test split is only counted: no run reads it, so hidden labels do not matter."""
    hub(GOOD)
    task = toy(rows=EXPECTED)
    (report,) = check(Hub(), [task])
    assert report == TaskReport("toy", "abc", EXPECTED, EXPECTED)
    assert report.ok
    assert Hub().fingerprint(task) == "someone/toy@None@abc"
    (report,) = prefetch([task])
    assert report.rows == EXPECTED


MISSING = (
    "cannot load someone/toy test at revision abc from the hub or its cache (ValueError: no "
    "split): run 'bench data prefetch --task toy' where there is network and set HF_HUB_OFFLINE=1"
)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"train": rows(5)}, "the hub's toy train split has 5 rows, not the 4 expected"),
        (
            {"validation": [{"sentence": "x", "gold": 1}]},
            "someone/toy validation lacks the column label: toy needs sentence, label",
        ),
        ({"test": ValueError("no\nsplit")}, MISSING),
        (
            {"train": rows(3) + rows(1, label=7)},
            "someone/toy train, one faulty row: row 3: task toy: label 7 is none of 0, 1, 2",
        ),
        ({"train": rows(4, label=9)}, "someone/toy train, first of 4 faulty rows: row 0: task toy"),
    ],
)
def test_hub_differs(toy: Toy, hub: Any, changes: Splits, difference: str) -> None:
    hub({**GOOD, **changes})
    (report,) = check(Hub(), [toy(rows=EXPECTED)])
    (found,) = report.differences
    assert found.startswith(difference)


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The libraries without network, and the folder of their downloads."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.mark.parametrize("cached", [COMMIT, "b" * 40])
def test_offline_reads_pinned_revision(toy: Toy, cache: Path, offline: Path, cached: str) -> None:
    """From the library's own cache; the library would take another revision without a word."""
    folder = cache / "someone___toy" / "default" / "0.0.0" / cached
    folder.mkdir(parents=True)
    for split, size in ROWS.items():
        with datasets.arrow_writer.ArrowWriter(path=str(folder / f"toy-{split}.arrow")) as out:
            for row in rows(size):
                out.write(row)
            out.finalize()
    info = datasets.Dataset.from_list(rows(1)).info
    info.builder_name, info.dataset_name, info.config_name = "parquet", "toy", "default"
    infos = [datasets.SplitInfo(split, 1, size) for split, size in ROWS.items()]
    info.splits = datasets.SplitDict.from_split_dict(infos, "toy")
    info.write_to_directory(str(folder))
    (report,) = check(Hub(), [toy(rows=ROWS, revision=COMMIT)])
    if cached == COMMIT:
        assert (report.differences, report.rows) == ([], ROWS)
    else:
        assert f"holds only revision {cached}" in report.differences[0]


def test_offline_reads_the_parquet_branch(toy: Toy, offline: Path) -> None:
    """The downloaded files are read, as datasets does not find its own cache of them."""
    task = toy(rows=ROWS, revision=PARQUET_BRANCH, config="en")
    (report,) = check(Hub(), [task])
    assert "cannot load someone/toy en train" in report.differences[0]
    repository = offline / "datasets--someone--toy"
    branch = repository / "refs" / PARQUET_BRANCH
    branch.parent.mkdir(parents=True)
    branch.write_text(COMMIT)
    for split, size in ROWS.items():
        folder = repository / "snapshots" / COMMIT / "en" / split
        folder.mkdir(parents=True)
        datasets.Dataset.from_list(rows(size)).to_parquet(folder / "0000.parquet")
    (report,) = check(Hub(), [task])
    assert (report.differences, report.rows) == ([], ROWS)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_rows_are_those_that_were_generated(task: Task) -> None:
    """All columns and their types, as digests of their JSON; the splits that the task reads."""
    assert set(task.hub.splits) <= set(GOLDEN[task.name])
    found = {}
    for file in (SAMPLES / task.name).iterdir():
        rows = datasets.Dataset(pq.read_table(file))
        content = [rows.features.to_dict(), rows.to_list()]
        text = json.dumps(content, sort_keys=True, ensure_ascii=False)
        found[file.stem] = hashlib.sha256(text.encode()).hexdigest()
    assert found == GOLDEN[task.name]


def test_real_slices_are_as_declared(shared: Path) -> None:
    """All tasks but newsqa, with the row counts of the manifest."""
    folder = shared / "data"
    manifest = json.loads((folder / "manifest.json").read_text())["tasks"]
    reports = {r.task: r for r in check(open_source(str(folder)), TASKS)}
    missing = reports.pop("newsqa")
    assert "newsqa/*.parquet is missing: newsqa needs its splits" in missing.differences[0]
    assert len(reports) == 25
    for name, report in reports.items():
        assert report.differences == []
        counts = {split: entry["rows"] for split, entry in manifest[name]["splits"].items()}
        assert report.rows == counts
