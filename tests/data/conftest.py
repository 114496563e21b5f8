"""Toy tasks and folders, and an encoder of words."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest

from bench.data import DataSource, open_source
from bench.errors import DataError
from bench.tasks.base import HubSource, Task, TextPair


class WordEncoder:
    """One id per word, 1 at the end; counts its calls."""

    pad_id, calls = 0, 0

    def encode(
        self, sources: list[str], targets: list[str], input_length: int, target_length: int
    ) -> dict[str, list[list[int]]]:
        self.calls += 1
        return {
            "input_ids": [self.ids(text, input_length) for text in sources],
            "labels": [self.ids(text, target_length) for text in targets],
        }

    def ids(self, text: str, length: int) -> list[int]:
        words = [2 + sum(word.encode()) % 500 for word in text.split()]
        return [*words[: length - 1], 1]


@pytest.fixture
def encoder() -> WordEncoder:
    return WordEncoder()


def label_of(row: Mapping[str, Any]) -> int:
    if row["label"] not in (0, 1, 2):
        raise DataError(f"label {row['label']} is none of 0, 1, 2")
    return int(row["label"])


TOY = Task(
    name="toy",
    published_name="toy",
    hub=HubSource("someone/toy", None, "abc", ("sentence", "label"), ("train", "validation"), {}),
    texts=lambda row, training: [TextPair(row["sentence"], str(label_of(row)))],
    labels=("0", "1", "2"),
    metrics=("accuracy",),
    split_rule="halve-validation",
    label_of=label_of,
)


@pytest.fixture(scope="session")
def toy() -> Callable[..., Task]:
    """Variants of the toy task; keywords that the task lacks are its hub source's."""

    def make(rule: Any = "halve-validation", **changes: Any) -> Task:
        hub = {key: changes.pop(key) for key in list(changes) if hasattr(TOY.hub, key)}
        return replace(TOY, split_rule=rule, hub=replace(TOY.hub, **hub), **changes)

    return make


def toy_rows(n: int, **changes: Any) -> list[dict[str, Any]]:
    return [{"sentence": f"row {i}", "label": i % 3, "other": None} | changes for i in range(n)]


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., DataSource]:
    """A local folder with splits of the toy task, each given by its size or its rows."""

    def write(**splits: int | list[dict[str, Any]]) -> DataSource:
        target = tmp_path / "data" / "toy"
        target.mkdir(parents=True, exist_ok=True)
        for split, content in splits.items():
            rows = toy_rows(content) if isinstance(content, int) else content
            datasets.Dataset.from_list(rows).to_parquet(target / f"{split}.parquet")
        return open_source(str(tmp_path / "data"))

    return write
