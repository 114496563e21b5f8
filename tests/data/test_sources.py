"""Sources: what they load, how they identify it, and how they complain."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from bench.data import DataSource, open_source, sources
from bench.errors import DataError
from bench.tasks.task import Task

Toy = Callable[..., Task]
Folder = Callable[..., DataSource]


def test_local_rows_and_names(toy: Toy, folder: Folder, tmp_path: Path) -> None:
    source = folder(train=4, validation=2)
    rows = source.load(toy(), "train")
    assert rows["sentence"][:] == ["row 0", "row 1", "row 2", "row 3"]
    assert rows["official_row"][:] == [0, 1, 2, 3]
    assert source.kind == "local"
    assert source.name == str(tmp_path / "data")
    assert source.splits(toy()) == ("train", "validation")
    assert source.revision(toy()) is None


def test_local_fingerprint_follows_content_not_time(toy: Toy, folder: Folder) -> None:
    source = folder(train=4, validation=2)
    file = Path(source.name) / "toy" / "train.parquet"
    before = source.fingerprint(toy())
    rows_before = source.load(toy(), "train")
    stamp = file.stat()

    os.utime(file, (1, 1))
    again = open_source(source.name)
    assert again.fingerprint(toy()) == before
    assert again.load(toy(), "train")._fingerprint == rows_before._fingerprint

    changed = folder(train=[{"sentence": "new", "label": 1}])
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert changed.fingerprint(toy()) != before
    assert changed.load(toy(), "train")["sentence"][:] == ["new"]


def test_local_folder_with_pattern_characters(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a[b]*c" / "toy"
    target.mkdir(parents=True)
    datasets.Dataset.from_list([{"sentence": "x", "label": 0}]).to_parquet(target / "train.parquet")
    monkeypatch.chdir(tmp_path)
    assert len(open_source("a[b]*c").load(toy(), "train")) == 1


def test_class_labels_are_plain_numbers(toy: Toy, folder: Folder) -> None:
    """Else the library itself refuses a label out of range, without a row number."""
    source = folder(validation=1)
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    rows = datasets.Dataset.from_dict({"sentence": ["x"], "label": [1]}, features=features)
    rows.to_parquet(f"{source.name}/toy/train.parquet")
    assert source.load(toy(), "train").features["label"] == datasets.Value("int64")


@pytest.mark.parametrize("text", ["nowhere", "a/file"])
def test_no_such_folder(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    Path("a/file").touch()
    with pytest.raises(DataError, match=f"there is no data folder {text}: name a folder"):
        open_source(text)


def test_missing_task_split_and_column(toy: Toy, folder: Folder) -> None:
    source = folder(train=[{"sentence": "x", "idx": 0}])
    with pytest.raises(DataError, match=r"has no data of toy: put train, validation as .parquet"):
        open_source(str(Path(source.name) / "toy")).load(toy(), "train")
    with pytest.raises(DataError, match=r"toy/validation.parquet is missing: .* sentence, label$"):
        source.load(toy(), "validation")
    with pytest.raises(
        DataError, match=r"toy/train.parquet lacks the column label: toy needs sentence, label$"
    ):
        source.load(toy(), "train")


@pytest.mark.parametrize(
    "damage", [lambda data: b"no parquet", lambda data: data[:200] + data[260:]]
)
def test_corrupt_parquet(toy: Toy, folder: Folder, damage: Callable[[bytes], bytes]) -> None:
    source = folder(train=500, validation=1)
    file = Path(source.name) / "toy" / "train.parquet"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(
        DataError, match=r"^cannot read .*toy/train.parquet \(.*\): write it"
    ) as info:
        source.load(toy(), "train")
    assert "\n" not in str(info.value)


def test_cache_that_cannot_be_written(
    toy: Toy, folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder(train=2)
    (tmp_path / "file").touch()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file")
    with pytest.raises(DataError, match=r"cannot write the cache folder .*: set HF_DATASETS_CACHE"):
        source.load(toy(), "train")


def test_hub_asks_for_the_pinned_revision(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def load_dataset(path: str, **arguments: Any) -> datasets.Dataset:
        asked.update(arguments, path=path)
        return datasets.Dataset.from_list([{"sentence": "x", "label": 0, "idx": 3}])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    source = open_source("hub")
    rows = source.load(toy(), "train")
    assert asked == {"path": "someone/toy", "revision": "abc", "split": "train"}
    assert rows.column_names == ["sentence", "label", "official_row"]
    assert (source.kind, source.name, source.revision(toy())) == ("hub", "hub", "abc")
    assert source.fingerprint(toy()) == "someone/toy@None@abc"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (ConnectionError("no route"), r"cannot reach the hub .*local folder.*HF_HUB_OFFLINE=1.*no"),
        (ValueError("no such config\nmore"), r"cannot load .* \(ValueError: no such config more\)"),
        (
            datasets.exceptions.DatasetNotFoundError("gone"),
            r"cannot load someone/toy train at revision abc from .* \(DatasetNotFoundError: gone\)",
        ),
    ],
)
def test_hub_faults(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, fault: Exception, message: str
) -> None:
    def load_dataset(**arguments: Any) -> datasets.Dataset:
        raise fault

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError, match=message) as info:
        open_source("hub").load(toy(), "train")
    assert "\n" not in str(info.value)


def test_hub_without_network(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own behaviour, not a stand-in for it."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        DataError,
        match=r"toy train is not in the cache .*HF_HUB_OFFLINE is set: run .bench data prefetch",
    ):
        open_source("hub").load(toy(), "train")


@pytest.fixture
def samples(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """Writes toy samples in place of the bundled ones."""
    monkeypatch.setattr(sources, "SAMPLES", tmp_path / "data")
    return folder


def test_bundled_samples(toy: Toy, samples: Folder) -> None:
    samples(train=5, validation=3)
    source = open_source("bundled")
    assert (source.kind, source.name) == ("bundled", "bundled samples")
    assert source.splits(toy()) == ("train", "validation")
    assert source.load(toy(), "validation")["sentence"][:] == [f"row {i}" for i in range(3)]
    before = source.fingerprint(toy()), source.load(toy(), "train")._fingerprint
    samples(train=5, validation=4)
    assert source.fingerprint(toy()) != before[0]
    assert source.load(toy(), "train")._fingerprint != before[1]


def test_bundled_samples_that_do_not_exist(toy: Toy, samples: Folder) -> None:
    samples(train=5)
    with pytest.raises(DataError, match="bundled samples of toy have no test split"):
        open_source("bundled").load(toy(), "test")
    with pytest.raises(DataError, match="no bundled samples of other: use the hub or a folder"):
        open_source("bundled").load(toy(name="other"), "train")
