"""Every task from real slices and from the bundled samples: load, split, sample, encode."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from bench.data import encode_examples, load_splits, open_source, sample_shots
from bench.errors import DataError
from bench.tasks import get_task, list_tasks

TASKS = [task.name for task in list_tasks()]


class T5Encoder:
    """The real tokenizer behind the encoder protocol."""

    fingerprint = "t5"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.folder)

    @property
    def pad_id(self) -> int:
        return int(self.tokenizer.pad_token_id)

    def encode(
        self, sources: list[str], targets: list[str], input_length: int, target_length: int
    ) -> dict[str, list[list[int]]]:
        def ids(texts: list[str], length: int) -> list[list[int]]:
            cut = self.tokenizer(texts, truncation=True, max_length=length)
            return list(cut["input_ids"])

        return {"input_ids": ids(sources, input_length), "labels": ids(targets, target_length)}


@pytest.fixture(scope="module")
def t5(shared: Path) -> T5Encoder:
    return T5Encoder(shared / "tokenizers" / "t5")


@pytest.fixture(scope="module")
def manifest(shared: Path) -> dict[str, dict[str, int]]:
    """Rows by split, by task."""
    tasks = json.loads((shared / "data" / "manifest.json").read_text("utf-8"))["tasks"]
    return {
        name: {split: entry["rows"] for split, entry in task["splits"].items() if "rows" in entry}
        for name, task in tasks.items()
    }


@pytest.mark.parametrize("name", TASKS)
def test_real_slice(
    name: str, shared: Path, manifest: dict[str, dict[str, int]], t5: T5Encoder
) -> None:
    task = get_task(name)
    source = open_source(str(shared / "data"))
    if not manifest.get(name):
        with pytest.raises(DataError, match=f"has no data of {name}"):
            load_splits(source, task)
        return
    rows = load_splits(source, task)
    assert {split: len(source.load(task, split)) for split in manifest[name]} == manifest[name]

    parts = [(rows.train, True), (rows.validation, False), (rows.test, False)]
    sizes = manifest[name]
    unused = {"test"} if task.split_rule == "halve-validation" else set()
    total = sum(n for split, n in sizes.items() if split not in unused)
    assert sum(len(part) for part, _ in parts) == total
    for part, training in parts:
        part = part.select(range(min(100, len(part))))
        examples = encode_examples(part, task, t5, training=training)
        assert max(examples.lengths) <= task.input_length
        assert set(examples.rows) <= set(part["official_row"][:])
        ids = examples.examples([0])[0]["input_ids"]
        assert ids[:-1] == t5.tokenizer(examples.sources[0])["input_ids"][: len(ids) - 1]
        assert ids[-1] == t5.tokenizer.eos_token_id
        if task.labels is not None:
            assert set(examples.targets) <= set(task.labels)

    shots = sample_shots(task, rows.train, 16, seed=42)
    assert len(set(shots)) == 16
    if task.labels is not None and task.label_of is not None:
        counts = [0] * len(task.labels)
        for i in shots:
            counts[task.label_of(rows.train[i])] += 1
        assert max(counts) - min(counts) <= 1


def test_generation_tasks_are_scored_once_per_input(shared: Path, t5: T5Encoder) -> None:
    rows = load_splits(open_source(str(shared / "data")), get_task("e2e")).test
    examples = encode_examples(rows, get_task("e2e"), t5, training=False)
    inputs = rows["meaning_representation"][:]
    assert len(examples) == len(set(inputs)) < len(inputs)
    references = sum(len(texts) for texts in examples.references)
    assert references == len(set(zip(inputs, rows["human_reference"][:], strict=True)))


@pytest.mark.parametrize("name", TASKS)
def test_bundled_samples_go_the_same_way(name: str) -> None:
    task = get_task(name)
    source = open_source("bundled")
    rows = load_splits(source, task)
    # Only what holds out 1,000 rows can be too small for that; then a note says what it does.
    small = task.split_rule == "hold-out-train" and len(source.load(task, "train")) <= 1000
    assert [note for note in rows.notes if "validate instead of 1000" in note] == list(rows.notes)
    assert len(rows.notes) == small
    sizes = [len(source.load(task, split)) for split in task.hub.splits]
    assert len(rows.train) + len(rows.validation) + len(rows.test) == sum(sizes)
    assert len(set(sample_shots(task, rows.train, 16, seed=42))) == 16
