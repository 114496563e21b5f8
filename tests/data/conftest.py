"""Toy tasks, a toy encoder and a private cache folder for the tests of bench.data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest

from bench.data import DataSource, open_source
from bench.errors import DataError
from bench.tasks.task import HubSource, SplitRule, Task, TextPair


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees what another one, or the user, has cached."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    return folder


class WordEncoder:
    """One id per word, 1 at the end; counts its calls."""

    pad_id = 0

    def __init__(self, fingerprint: str = "words") -> None:
        self.fingerprint = fingerprint
        self.calls = 0

    def encode(
        self, sources: list[str], targets: list[str], input_length: int, target_length: int
    ) -> dict[str, list[list[int]]]:
        self.calls += 1
        return {
            "input_ids": [self._ids(text, input_length) for text in sources],
            "labels": [self._ids(text, target_length) for text in targets],
        }

    def _ids(self, text: str, length: int) -> list[int]:
        words = [2 + sum(word.encode()) % 500 for word in text.split()]
        return [*words[: length - 1], 1]


def sentence_texts(row: Mapping[str, Any], training: bool) -> list[TextPair]:
    return [TextPair(f"toy sentence: {row['sentence']}", str(label_of(row)))]


def label_of(row: Mapping[str, Any]) -> int:
    if row["label"] not in (0, 1, 2):
        raise DataError(f"label {row['label']} is none of 0, 1, 2")
    return int(row["label"])


TOY = Task(
    name="toy",
    published_name="toy",
    hub=HubSource("someone/toy", None, "abc", ("sentence", "label"), ("train", "validation"), {}),
    texts=sentence_texts,
    labels=("0", "1", "2"),
    metrics=("accuracy",),
    split_rule="halve-validation",
    label_of=label_of,
)


@pytest.fixture(scope="session")
def toy() -> Callable[..., Task]:
    """Makes variants of the toy task."""

    def make(rule: SplitRule = "halve-validation", **changes: Any) -> Task:
        splits: tuple[str, ...] = changes.pop("splits", TOY.hub.splits)
        rows: Mapping[str, int] = changes.pop("rows", {})
        hub = replace(TOY.hub, splits=splits, rows=rows)
        return replace(TOY, split_rule=rule, hub=hub, **changes)

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., DataSource]:
    """Writes splits of numbered toy rows and opens the folder; a split is a size or its rows."""

    def write(**splits: int | list[dict[str, Any]]) -> DataSource:
        target = tmp_path / "data" / "toy"
        target.mkdir(parents=True, exist_ok=True)
        for split, content in splits.items():
            rows = toy_rows(content) if isinstance(content, int) else content
            datasets.Dataset.from_list(rows).to_parquet(target / f"{split}.parquet")
        return open_source(str(tmp_path / "data"))

    return write


def toy_rows(n: int) -> list[dict[str, Any]]:
    return [{"sentence": f"row {i}", "label": i % 3, "other": None} for i in range(n)]


@pytest.fixture
def encoder() -> WordEncoder:
    return WordEncoder()
