"""Toy tasks and folders, a stand-in for the hub, and an encoder of words."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest

from bench.data import DataSource, open_source
from bench.errors import DataError
from bench.tasks.base import Task, TextPair
from tests.conftest import hub_server

Folder = Callable[..., DataSource]


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
    repository="someone/toy",
    revision="abc",
    columns=("sentence", "label"),
    splits=("train", "validation"),
    rows={},
    texts=lambda row, training: [TextPair(row["sentence"], str(label_of(row)))],
    labels=("0", "1", "2"),
    metrics=("accuracy",),
    scorers=("accuracy",),
    split_rule="halve-validation",
    label_of=label_of,
)


def toy(rule: str = "halve-validation", **changes: Any) -> Task:
    """A variant of the toy task."""
    return replace(TOY, split_rule=rule, **changes)


def toy_rows(n: int, **changes: Any) -> list[dict[str, Any]]:
    return [{"sentence": f"row {i}", "label": i % 3, "other": None} | changes for i in range(n)]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A local folder with splits of the toy task, each given by its size or its rows."""

    def write(**splits: int | list[dict[str, Any]]) -> DataSource:
        target = tmp_path / "data" / "toy"
        target.mkdir(parents=True, exist_ok=True)
        for split, content in splits.items():
            rows = toy_rows(content) if isinstance(content, int) else content
            datasets.Dataset.from_list(rows).to_parquet(target / f"{split}.parquet")
        return open_source(str(tmp_path / "data"))

    return write


@contextmanager
def hub_on_loopback(shared: Path, root: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """A stand-in for the hub that serves the repositories in a folder; its cache is new."""
    with hub_server(shared, root) as address:
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        constants = ("ENDPOINT", "HUGGINGFACE_CO_URL_TEMPLATE", "HF_HUB_OFFLINE", "HF_HUB_CACHE")
        for name, value in zip(constants, (address, template, False, root / "hub"), strict=True):
            patch.setattr(huggingface_hub.constants, name, value)
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", False)  # As under tox.
        patch.delenv("HF_HUB_OFFLINE", raising=False)
        yield
