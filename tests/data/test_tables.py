"""Local files in the forms in which people have them: names, formats, types, and faults."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.data import open_source
from bench.errors import DataError
from bench.tasks.base import Task
from tests.data.conftest import toy

TEXTS = ["plain", "two\nlines", 'q"uote, comma', "\u2028 東京 é", "NA", "null"]
EXPECTED = [{"sentence": text, "label": i % 3} for i, text in enumerate(TEXTS)]
ROWS = [row | {"other": {"x": [1]}} for row in EXPECTED]


def save(rows: list[dict[str, Any]], file: Path) -> None:
    """Written by ``datasets``, in the format that the name asks for."""
    table, out = datasets.Dataset.from_list(rows), io.BytesIO()
    name = file.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        table.to_parquet(out)
    elif name.endswith((".csv", ".tsv")):
        separator = "\t" if name.endswith(".tsv") else ","
        table.remove_columns("other").to_csv(out, sep=separator, index=False)
    elif name.endswith(".json"):
        out.write(json.dumps(rows, indent=2, ensure_ascii=False).encode("utf-8-sig"))
    else:
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        out.write("".join([*lines, "\n"]).encode())
    content = out.getvalue()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)


def read(folder: Path, task: Task, split: str = "train") -> list[dict[str, Any]]:
    rows = open_source(str(folder)).load(task, split)
    assert rows["official_row"][:] == list(range(len(rows)))
    return rows.remove_columns("official_row").to_list()


@pytest.mark.parametrize(
    "names",
    [
        *(f"train{kind}" for kind in (".parquet", ".jsonl", ".json", ".csv", ".tsv")),
        *(f"train{kind}.gz" for kind in (".jsonl", ".csv")),
        *("train/0000.parquet", "data/train-00000-of-00001-0a1b.parquet", "train/train.csv"),
        "train-00000-of-00002.parquet train-00001-of-00002.parquet",
        "train/part-0.c000.jsonl train/part-1.c000.jsonl",
        "train_2.csv train_10.csv",
        *("dev.jsonl", "val.csv", "valid-00000-of-00001.parquet"),
    ],
)
def test_names_and_formats(tmp_path: Path, names: str) -> None:
    """Other files in the folder are left alone."""
    files, folder = names.split(), tmp_path / "a::b *[c]" / "toy"
    split = "train" if "train" in names else "validation"
    share = len(ROWS) // len(files)
    for i, name in enumerate(files):
        save(ROWS[i * share : (i + 1) * share], folder / name)
    for name in ("train_small.jsonl", "pretrain.csv", "README.md", ".cache/train.parquet"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("no rows")
    assert read(folder.parent, toy(), split) == EXPECTED
    source = open_source(str(folder.parent))
    before = source.fingerprint(toy())
    assert source.splits(toy()) == (split,)
    save(ROWS[:2], folder / files[-1])
    assert open_source(str(folder.parent)).fingerprint(toy()) != before


def test_saved_datasets(tmp_path: Path) -> None:
    """With the files that ``datasets`` keeps beside the rows, even if these are damaged."""
    labels = datasets.ClassLabel(names=["a", "b", "c"])
    split = datasets.Dataset.from_list(ROWS).cast_column("label", labels)
    both = datasets.DatasetDict(train=split, validation=split.select([1]))
    both.save_to_disk(tmp_path / "toy", num_shards={"train": 3, "validation": 1})
    (tmp_path / "toy" / "train" / "cache-0a1b2c.arrow").write_bytes(b"left by a map")
    (tmp_path / "toy" / "train" / "dataset_info.json").write_text("")
    assert read(tmp_path, toy()) == EXPECTED
    assert read(tmp_path, toy(), "validation") == EXPECTED[1:2]
    # As a class label, datasets would refuse one out of range, without a row number.
    loaded = open_source(str(tmp_path)).load(toy(), "train")
    assert loaded.features["label"] == datasets.Value("int64")


def test_columns_that_no_task_reads(tmp_path: Path) -> None:
    """Also such that datasets has no features for; dictionaries and bytes of texts are texts."""
    ids = pa.array([b"0123456789abcdef"] * 6, pa.binary(16))
    table = pa.table(
        {
            "sentence": pa.array(TEXTS).dictionary_encode(),
            "label": pa.array([row["label"] for row in EXPECTED], pa.decimal128(3)),
            "map": pa.array([[("k", 1)]] * 6, pa.map_(pa.string(), pa.int8())),
            "uuid": pa.ExtensionArray.from_storage(pa.uuid(), ids),
            "when": pa.array([1] * 6, pa.duration("s")),
        }
    )
    (tmp_path / "toy").mkdir()
    file = tmp_path / "toy" / "train.parquet"
    pq.write_table(table, file)
    assert read(tmp_path, toy()) == EXPECTED
    pq.write_table(table.set_column(0, "sentence", pa.array([t.encode() for t in TEXTS])), file)
    assert read(tmp_path, toy()) == EXPECTED


LINE = b'{"sentence": "x", "label": 1}\n'
pq.write_table(pa.Table.from_pylist(EXPECTED * 80), written := io.BytesIO())
PARQUET = written.getvalue()
pq.write_table(pa.Table.from_pylist(EXPECTED)[:0], written := io.BytesIO())
NO_ROWS = written.getvalue()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"rows.txt": b""}, r"toy/train.parquet is missing \(found: rows.txt\): toy .* label$"),
        ({"train-00000-of-00002.jsonl": LINE}, "one complete .* but has train-00000-of"),
        ({"train-0-of-1.jsonl": LINE, "train-1-of-1.jsonl": LINE}, "one complete copy"),
        ({"train.jsonl": LINE, "train.csv": b"a"}, "one complete .* has train.csv, train.jsonl: a"),
        ({"train.jsonl": LINE, "train_1.jsonl": LINE}, "one complete copy of the split train"),
        ({"a/train.jsonl": LINE, "b/train.jsonl": LINE}, "has a/train.jsonl, b/train.jsonl: add"),
        ({"train.jsonl": b'{"sentence": "caf\xe9"}'}, r"cannot read .*/train.jsonl \(UnicodeDec"),
        ({"train.csv": b"sentence,label\ncaf\xe9,1\n"}, r"cannot read .*/train.csv \(ArrowInv"),
        ({"train.csv": b"sentence,label\nx,1,2,3\ny,1,2\n"}, r"cannot read .*/train.csv \("),
        ({"train.csv": b""}, r"cannot read .*/train.csv \("),
        ({"train.csv": b"a,b\n1,2\n"}, "train.csv lacks the columns sentence, label: toy needs"),
        ({"train.jsonl": LINE + b'{"sentence"'}, r"cannot read .*/train.jsonl \(JSONDecodeError"),
        ({"train.jsonl": LINE + LINE.replace(b"1", b'"1"')}, r"\(ArrowInvalid: .*one type a col"),
        (
            {"train.json": b"[1, 2]"},
            r"train.json \(ValueError: row 1 is 1, not an obj",
        ),
        ({"train.jsonl.gz": gzip.compress(LINE)[:-9]}, r"cannot read .*/train.jsonl.gz \(EOF"),
        ({"train.arrow": b"no arrow"}, r"cannot read .*/train.arrow \("),
        ({"train.parquet": b"no parquet"}, r"^cannot read .*/train.parquet \(.*\): it must be re"),
        ({"train.parquet": PARQUET[:200] + PARQUET[260:]}, r"cannot read .*/train.parquet \("),
        ({"train.jsonl": b""}, "train.jsonl lacks the columns"),
        ({"train.parquet": NO_ROWS}, "train.parquet has no rows: toy needs some"),
    ],
)
def test_faults(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    for name, content in files.items():
        (tmp_path / "toy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "toy" / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        open_source(str(tmp_path)).load(toy(), "train")
    assert "\n" not in str(caught.value)


def test_one_of_several_configurations(tmp_path: Path) -> None:
    """As in a copy of a repository of the hub."""
    save(ROWS, tmp_path / "toy" / "en" / "train-00000-of-00001.parquet")
    save(ROWS[:1], tmp_path / "toy" / "de" / "train-00000-of-00001.parquet")
    assert read(tmp_path, toy(config="en")) == EXPECTED
