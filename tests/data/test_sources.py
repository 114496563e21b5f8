"""Sources: rows, ids of their content, messages, and the check against the tasks."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pyarrow.parquet as pq
import pytest

import bench.data
from bench.data import open_source
from bench.data.splits import check
from bench.errors import DataError
from bench.tasks import TASKS
from bench.tasks.base import PARQUET_BRANCH, Task
from tests.data.conftest import Folder, hub_on_loopback, toy
from tests.data.conftest import toy_rows as rows

COMMIT = "a" * 40
SAMPLES = Path(bench.data.__file__).parent / "samples"
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "samples.json").read_text("utf-8"))
ROWS = {"train": 4, "validation": 2}
HUB = open_source("hub")


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


def test_id_of_a_local_folder(folder: Folder) -> None:
    """It follows the content of the files, not their times."""
    source = folder(train=4, validation=2)
    file, before = Path(source.name) / "toy" / "train.parquet", source.fingerprint(toy())
    assert (source.kind, source.revision(toy())) == ("local", None)
    stamp = file.stat()
    os.utime(file, (1, 1))
    assert open_source(source.name).fingerprint(toy()) == before
    changed = folder(train=[{"sentence": "new", "label": 1}])
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert changed.fingerprint(toy()) != before
    assert changed.load(toy(), "train")["sentence"][:] == ["new"]


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"toy/train.parquet is missing \(found: no files\): toy"):
        open_source(str(tmp_path)).fingerprint(toy())


Splits = Mapping[str, list[dict[str, Any]]]


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The libraries without network, and the folder of the toy dataset in the hub's cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub" / "datasets--someone--toy"


def put(
    cache: Path, splits: Splits, commit: str = COMMIT, name: str = "data/{}-00000-of-00001"
) -> None:
    """Put splits into the cache as a download does; names are those of the converted datasets."""
    for split, content in splits.items():
        file = cache / "snapshots" / commit / f"{name.format(split)}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_list(content).to_parquet(file)


GOOD: Splits = {"train": rows(4), "validation": rows(2), "test": rows(3, label=-1)}
EXPECTED = {"train": 4, "validation": 2, "test": 3}


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({}, ""),
        ({"train": rows(5)}, "the hub's toy train split has 5 rows, not the 4 expected"),
        ({"validation": [{"sentence": "x"}]}, "someone/toy validation lacks the column label: toy"),
        ({"train": rows(3) + rows(1, label=7)}, "someone/toy train, row 3: task toy: label 7 is"),
    ],
)
def test_check_of_the_hub(offline: Path, changes: Splits, difference: str) -> None:
    """The test split is only counted: no run reads it, so hidden labels do not matter."""
    put(offline, {**GOOD, **changes})
    task = toy(rows=EXPECTED, revision=COMMIT)
    (report,) = check(HUB, [task])
    assert "".join(report.differences).startswith(difference)
    assert len(report.differences) == bool(difference)
    assert (report.ok, report.task, report.revision) == (not difference, "toy", COMMIT)
    if report.ok:
        assert report.rows == report.expected == EXPECTED
        assert next(check(HUB, [task], texts=False)) == report
    assert HUB.fingerprint(task) == f"someone/toy@None@{COMMIT}"


@pytest.mark.parametrize(
    ("revision", "config", "name"),
    [
        (COMMIT, None, "data/{}-00000-of-00001-0a1b2c3d4e5f"),
        (COMMIT, None, "plain_text/{}-00000-of-00001"),
        (COMMIT, "wsc.fixed", "wsc.fixed/{}-00000-of-00001"),
        (COMMIT, "cb", "cb/{}"),
        (PARQUET_BRANCH, "en", "en/{}/0000"),
        (PARQUET_BRANCH, None, "default/{}/0000"),
    ],
)
def test_offline_reads_the_pinned_revision(
    offline: Path, revision: str, config: Any, name: str
) -> None:
    """Of the configuration, and nothing of another revision or configuration."""
    task = toy(rows=ROWS, revision=revision, config=config)
    splits = {split: rows(size) for split, size in ROWS.items()}
    put(offline, splits, "b" * 40, name)
    put(offline, {"train": rows(9)}, COMMIT, "axb/{}-00000-of-00001" if config else "other-{}")
    fault = f"cannot load someone/toy {f'{config} ' if config else ''}train at revision {revision}"
    (report,) = check(HUB, [task])
    assert report.differences[0].startswith(fault)
    assert "bench data prefetch --task toy" in report.differences[0]
    branch = offline / "refs" / PARQUET_BRANCH
    branch.parent.mkdir(parents=True)
    branch.write_text(COMMIT)
    put(offline, splits, COMMIT, name)
    (report,) = check(HUB, [task])
    assert (report.differences, report.rows) == ([], ROWS)


def test_damaged_download(offline: Path) -> None:
    """The cache names large files by their SHA-256; a flipped bit may leave parquet readable."""
    put(offline, GOOD)
    file = offline / "snapshots" / COMMIT / "data" / "train-00000-of-00001.parquet"
    blob = offline / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
    blob.parent.mkdir()
    file.rename(blob)
    file.symlink_to(blob)
    task = toy(revision=COMMIT)
    assert len(HUB.load(task, "train")) == 4
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(content)
    with pytest.raises(DataError, match=rf"{blob} is damaged, delete it\): .*run 'bench data pref"):
        HUB.load(task, "train")


@pytest.fixture
def online(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the datasets that a stand-in for the hub serves."""
    branch = {f"datasets/someone/toy/{PARQUET_BRANCH}": COMMIT}
    (tmp_path / "refs.json").write_text(json.dumps(branch))
    with hub_on_loopback(shared, tmp_path, monkeypatch):
        yield tmp_path / "datasets"


def test_downloads_the_files_of_a_split(online: Path) -> None:
    """All files of the split and configuration, in their order, and no others."""
    task, folder = toy(revision=COMMIT, config="en"), online / "someone" / "toy" / COMMIT
    splits = {"en/train-00000": [0, 1], "en/train-00001": [2], "de/train-00000": [9]}
    for name, labels in splits.items():
        file = folder / f"{name}-of-00002.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_dict({"sentence": labels, "label": labels}).to_parquet(file)
    assert HUB.load(task, "train")["label"][:] == [0, 1, 2]
    cached = Path(huggingface_hub.constants.HF_HUB_CACHE).rglob("*.parquet")
    assert sorted(file.parent.name for file in cached) == ["en", "en"]


def test_results_of_a_branch_are_those_of_its_commit(online: Path, monkeypatch: Any) -> None:
    """On the hub, and from its cache without network; once the branch moves, ids are new."""
    task, folder = toy(revision=PARQUET_BRANCH), online / "someone" / "toy" / COMMIT / "default"
    folder.mkdir(parents=True)
    for split in ("train", "validation"):
        datasets.Dataset.from_list(rows(2)).to_parquet(folder / split / "0000.parquet")

    def known() -> tuple[str | None, str]:
        bench.data.sources._commit.cache_clear()
        return HUB.revision(task), HUB.fingerprint(task)

    expected = COMMIT, f"someone/toy@None@{COMMIT}"
    assert known() == expected
    assert len(HUB.load(task, "train")) == 2
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert known() == expected
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert known() == expected
    cache = Path(huggingface_hub.constants.HF_HUB_CACHE, "datasets--someone--toy")
    (cache / "snapshots" / COMMIT).rename(cache / "snapshots" / "c")
    (cache / "refs" / PARQUET_BRANCH).write_text("c")
    assert known() == ("c", "someone/toy@None@c")


@pytest.mark.parametrize(
    ("repository", "advice"),
    [
        ("gated/toy", r": accept its terms on http\S*/datasets/gated/toy, then log in with 'hf"),
        ("private/toy", "if it is private, log in with 'hf auth login'"),
        ("nobody/toy", "check its name"),
    ],
)
def test_refused_by_the_hub(online: Path, repository: str, advice: str) -> None:
    with pytest.raises(DataError, match=advice) as caught:
        HUB.load(toy(repository=repository, revision=COMMIT), "train")
    assert "\n" not in str(caught.value)


def test_advice_is_for_this_fault(online: Path, offline: Path, monkeypatch: Any) -> None:
    task = toy(revision=COMMIT)
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    with pytest.raises(DataError, match=r"cache\): HF_DATASETS_OFFLINE forbids downloads: unset"):
        HUB.load(task, "train")
    for library in (datasets.config, huggingface_hub.constants):
        monkeypatch.setattr(library, "HF_HUB_OFFLINE", False)
    (online / "someone" / "toy" / COMMIT).mkdir(parents=True)
    (online / "someone" / "toy" / COMMIT / "train.csv").write_text("sentence,label\nx,1\n")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", __file__)
    with pytest.raises(DataError, match=rf"cache {__file__} must be writable.*; HF_HOME names"):
        HUB.load(task, "train")


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_rows_are_those_that_were_generated(task: Task) -> None:
    """All columns and their types, as digests of their JSON; the splits that the task reads."""
    assert set(task.splits) <= set(GOLDEN[task.name])
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
    assert "newsqa/train.parquet is missing (found: no files)" in missing.differences[0]
    assert len(reports) == 25
    for name, report in reports.items():
        assert report.differences == []
        counts = {split: entry["rows"] for split, entry in manifest[name]["splits"].items()}
        assert report.rows == counts
