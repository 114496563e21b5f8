"""Fixtures shared by all tests."""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # The cores are taken by the other test processes; read by torch here and in subprocesses.
    os.environ["OMP_NUM_THREADS"] = "1"

if TYPE_CHECKING:
    from bench.predictions import Predictions

ROOT = Path(__file__).resolve().parents[1]

LONG = (
    *("runs/test_workers.py", "reports/html", "runs", "docs", "data", "reports", "commands"),
    *("models", "interchange", "ecosystem"),
)
"""Files and folders that take longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no test process works alone in the end."""

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(ROOT / "tests").as_posix()
        return next((n for n, name in enumerate(LONG) if path.startswith(name)), len(LONG))

    items.sort(key=place)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes stay out of tests' names: compressed ones differ between test processes."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data slices and reference texts that lies beside the checkout."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared (real data slices), which is not part of the project")
    return folder


@pytest.fixture(scope="session", autouse=True)
def without_power_cuts() -> Iterator[None]:
    """Nobody pulls the plug of these tests, so no file has to reach the disk at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def quiet_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of encoded rows that hides the user's; one thread is fastest for so small a model.

    All test processes share the cache, as processes of the harness do.
    """
    import datasets
    import torch

    own = tmp_path_factory.getbasetemp()
    cache = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "cache-of-tests"
    cache.mkdir(exist_ok=True)
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
        torch.set_num_threads(1)
        yield cache
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def reference() -> Path:
    """Golden numbers that the methods' published code computed."""
    return Path(__file__).parent / "reference"


@pytest.fixture(scope="session")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Predictions]:
    """Made-up answers to the bundled test examples of a task: right, wrong, strange, and none."""
    import datasets

    from bench.data import encode_examples, load_splits, open_source
    from bench.predictions import judge
    from bench.tasks import get_task

    cache = tmp_path_factory.mktemp("answered")

    class NoEncoder:
        fingerprint = "none"
        pad_id = 0

        def encode(
            self, sources: list[str], targets: list[str], input_length: int, target_length: int
        ) -> dict[str, list[list[int]]]:
            return {"input_ids": [[1] for _ in sources], "labels": [[1] for _ in targets]}

    @functools.cache
    def answers(name: str) -> Predictions:
        task, draw = get_task(name), random.Random(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
            test = load_splits(open_source("bundled"), task).test
            examples = encode_examples(
                test.select(range(min(80, len(test)))), task, NoEncoder(), training=False
            )
            right = [draw.choice(texts) for texts in examples.references]
            others = [draw.choice(right) for _ in right]
            given = [
                draw.choices(
                    [text, f" {text}\n", other, f"{other} {text}", '\u2028[1] \x00"é😀', ""],
                    weights=[8, 1, 4, 2, 1, 1],
                )[0]
                for text, other in zip(right, others, strict=True)
            ]
            return judge(
                task.scorers or task.metrics,
                examples.rows,
                given,
                examples.references,
                examples.groups,
            )

    return answers
