"""Fixtures shared by all tests."""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # The cores are taken by the other test processes; read by torch here and in subprocesses.
    os.environ["OMP_NUM_THREADS"] = "1"

if TYPE_CHECKING:
    from bench.predictions import Predictions

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data slices and reference texts that lies beside the checkout."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared (real data slices), which is not part of the project")
    return folder


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
