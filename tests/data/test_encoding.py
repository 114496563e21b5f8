"""Encoding: what is stored, what is joined, what is read again, what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import pytest

from bench.data import DataSource, encode_examples, leading_rows, load_splits, open_source
from bench.errors import DataError
from bench.tasks import get_task
from bench.tasks.task import Task, TextPair

Toy = Callable[..., Task]
Folder = Callable[..., DataSource]


def test_texts_ids_and_official_rows(toy: Toy, folder: Folder, encoder: Any) -> None:
    rows = load_splits(folder(train=6, validation=10), toy()).test
    examples = encode_examples(rows, toy(), encoder, training=False)
    assert len(examples) == 5
    assert examples.sources == [f"toy toy sentence: row {i}" for i in examples.rows]
    assert examples.rows == rows["official_row"][:]
    assert examples.targets == [str(i % 3) for i in examples.rows]
    assert examples.references == [[target] for target in examples.targets]
    assert examples.groups == [None] * 5
    ids = encoder.encode(examples.sources, examples.targets, 256, 20)
    assert [example["input_ids"] for example in examples.examples(range(5))] == ids["input_ids"]
    assert [example["labels"] for example in examples.examples([3, 1])] == [
        ids["labels"][3],
        ids["labels"][1],
    ]
    assert examples.lengths == [len(tokens) for tokens in ids["input_ids"]]
    assert examples.batch([4]).input_ids.tolist() == [ids["input_ids"][4]]


def answers_texts(row: Mapping[str, Any], training: bool) -> list[TextPair]:
    answers = tuple(row["sentence"].split())
    shown = answers if training else answers[:1]
    return [TextPair("question", answer, answers, group=f"g{row['label']}") for answer in shown]


def test_one_training_example_per_answer(toy: Toy, folder: Folder, encoder: Any) -> None:
    rows = [{"sentence": "a b", "label": 0}, {"sentence": "c", "label": 1}]
    task = toy(texts=answers_texts)
    split = folder(train=rows).load(task, "train")
    training = encode_examples(split, task, encoder, training=True)
    assert training.targets == ["a", "b", "c"]
    assert training.rows == [0, 0, 1]
    evaluation = encode_examples(split, task, encoder, training=False)
    assert evaluation.targets == ["a", "c"]
    assert evaluation.references == [["a", "b"], ["c"]]
    assert evaluation.groups == ["g0", "g1"]


def test_equal_sources_are_joined_in_evaluation_only(
    toy: Toy, folder: Folder, encoder: Any
) -> None:
    """Also when they lie further apart than the rows that are encoded together."""
    task = toy(texts=lambda row, training: [TextPair(row["sentence"], str(row["label"]))])
    joining = toy(texts=task.texts, group_by_source=True, name="joining")
    rows = [{"sentence": f"s {i % 700}", "label": i} for i in range(1500)]
    split = folder(train=rows).load(task, "train")
    assert len(encode_examples(split, joining, encoder, training=True)) == 1500
    assert len(encode_examples(split, task, encoder, training=False)) == 1500
    joined = encode_examples(split, joining, encoder, training=False)
    assert joined.sources == [f"toy s {i}" for i in range(700)]
    assert joined.targets == [str(i) for i in range(700)]
    assert joined.rows == list(range(700))
    assert joined.references[99] == ["99", "799", "1499"]
    assert joined.references[100] == ["100", "800"]


def test_leading_rows_keep_all_references_of_their_inputs(toy: Toy, folder: Folder) -> None:
    task = toy(texts=lambda row, training: [TextPair(row["sentence"], str(row["label"]))])
    joining = toy(texts=task.texts, group_by_source=True, name="joining")
    sentences = ["a", "b", "a", "c", "b", "d", "a"]
    rows = [{"sentence": text, "label": at} for at, text in enumerate(sentences)]
    split = folder(train=rows).load(task, "train")
    for number in range(1, 8):
        assert leading_rows(split, task, number)["label"][:] == list(range(number))
    expected = [(1, [0, 2, 6]), (2, [0, 1, 2, 4, 6]), (3, [0, 1, 2, 4, 6]), (7, list(range(7)))]
    for number, labels in expected:
        found = leading_rows(split, joining, number)
        assert found["label"][:] == labels
        # Once more changes nothing: who cut them before cannot have cut an input apart.
        assert leading_rows(found, joining, number)["label"][:] == labels


def test_cut_inputs_are_counted_exactly(toy: Toy, folder: Folder, encoder: Any) -> None:
    """An input that just fits is not cut: three words of the task, three here, one end mark."""
    texts = ["a b", "a b c", "a b c d", "a b c d e f"]
    split = folder(train=[{"sentence": text, "label": 0} for text in texts]).load(toy(), "train")
    examples = encode_examples(split, toy(input_length=7), encoder, training=True)
    assert examples.lengths == [6, 7, 7, 7]
    assert examples.truncated == 2


def test_cache_goes_by_all_that_matters(toy: Toy, folder: Folder, encoder: Any) -> None:
    source = folder(train=4, validation=4)
    rows = load_splits(source, toy())

    def calls(split: datasets.Dataset, task: Task, training: bool, fingerprint: str) -> int:
        encoder.fingerprint, encoder.calls = fingerprint, 0
        encode_examples(split, task, encoder, training=training)
        return int(encoder.calls)

    assert calls(rows.train, toy(), True, "words") == 1
    assert calls(rows.train, toy(), True, "words") == 0
    assert calls(load_splits(source, toy()).train, toy(), True, "words") == 0
    for different in (
        (rows.train, toy(), False, "words"),
        (rows.train, toy(), True, "other words"),
        (rows.train, toy(input_length=255), True, "words"),
        (rows.train, toy(target_length=19), True, "words"),
        (rows.train, toy(name="other"), True, "words"),
        (rows.train.select([1, 3]), toy(), True, "words"),
        (rows.validation, toy(), True, "words"),
        (load_splits(source, toy(), data_seed=1).validation, toy(), True, "words"),
    ):
        assert calls(*different) == 1, different
    changed = folder(train=5)
    assert calls(changed.load(toy(), "train"), toy(), True, "words") == 1


READ_AGAIN = """
import sys
from bench.data import encode_examples, load_splits, open_source
from bench.tasks import get_task

class Encoder:
    fingerprint, pad_id = "words", 0
    def encode(self, *arguments):
        sys.exit("encoded again")

rows = load_splits(open_source(sys.argv[1]), get_task("cola"))
print(encode_examples(rows.test, get_task("cola"), Encoder(), training=False).sources)
"""


@pytest.mark.parametrize("name", ["folder", "bundled"])
def test_other_processes_read_the_cache(
    tmp_path: Path, cache: Path, encoder: Any, name: str
) -> None:
    if name == "folder":
        name = str(tmp_path / "data")
        for split, n in {"train": 4, "validation": 9}.items():
            rows = [{"sentence": f"{split} {i}", "label": i % 2} for i in range(n)]
            file = tmp_path / "data" / "cola" / f"{split}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            datasets.Dataset.from_list(rows).to_parquet(file)
    test = load_splits(open_source(name), get_task("cola")).test
    here = encode_examples(test, get_task("cola"), encoder, training=False)
    stored = {file: file.stat().st_mtime_ns for file in cache.rglob("*.arrow")}

    there = subprocess.run(
        [sys.executable, "-c", READ_AGAIN, name],
        env={**os.environ, "HF_DATASETS_CACHE": str(cache), "PYTHONHASHSEED": "5"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (there.returncode, there.stderr) == (0, "")
    assert there.stdout.strip() == str(here.sources)
    assert {file: file.stat().st_mtime_ns for file in cache.rglob("*.arrow")} == stored


def test_bad_label_names_file_and_official_row(toy: Toy, folder: Folder, encoder: Any) -> None:
    bad = [{"sentence": f"row {i}", "label": 9 if i == 4 else 0} for i in range(8)]
    source = folder(train=3, validation=bad)
    rows = load_splits(source, toy())
    side = rows.test if 4 in rows.test["official_row"][:] else rows.validation
    fault = rf"^{source.name}/toy/validation.parquet, row 4: task toy: label 9 is none of 0, 1, 2$"
    for attempt in range(2):  # what failed is not taken for encoded
        with pytest.raises(DataError, match=fault):
            encode_examples(side, toy(), encoder, training=bool(attempt))
    single = side.select([side["official_row"][:].index(4)])
    with pytest.raises(DataError, match=fault):
        encode_examples(single, toy(), encoder, training=True)


def test_rows_that_come_from_no_source(toy: Toy, encoder: Any) -> None:
    rows = datasets.Dataset.from_list(
        [{"sentence": "a", "label": 0}, {"sentence": "b", "label": 5}]
    )
    assert encode_examples(rows.select([0]), toy(), encoder, training=True).rows == [0]
    with pytest.raises(DataError, match=r"^toy, row 1: task toy: label 5"):
        encode_examples(rows, toy(), encoder, training=True)


def test_nothing_is_printed(
    toy: Toy, folder: Folder, encoder: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    source = folder(train=3000, validation=4)
    capfd.readouterr()
    encode_examples(load_splits(source, toy()).train, toy(), encoder, training=True)
    assert capfd.readouterr() == ("", "")
