"""A grid of short trainings on the bundled model, and what two runs of it must have in common."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.records import Record, read_records

ROOT = Path(__file__).resolve().parents[2]

SHORT = ("steps=40", "evaluate_every=5", "warmup_steps=2", "batch_size=4")
SETTINGS = [
    f"{stage}.{item}"
    for stage in ("training", "source_training")
    for item in (*SHORT, "epochs=null")
] + ["validation_rows=16", "prompt_length=8"]


@pytest.fixture
def environment() -> dict[str, str]:
    """For processes that start afresh: they find this checkout, and use one thread."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture(scope="session")
def command() -> Callable[..., list[str]]:
    """The words of ``bench run`` with all five methods."""

    def words(tasks: Sequence[str], seeds: str, out: Path, *more: str) -> list[str]:
        words = [sys.executable, "-m", "bench.cli", "run", "--shots", "4", "--seeds", seeds]
        for name, values in (("--task", tasks), ("--set", SETTINGS)):
            for value in values:
                words += [name, value]
        return [*words, "--out", str(out), *more]

    return words


def comparable(record: Record) -> dict[str, Any]:
    values = dataclasses.asdict(record)
    for name in ("command", "git_commit", "git_dirty", "hardware"):
        del values["provenance"][name]
    del values["timing"], values["seal"]
    return values


@pytest.fixture(scope="session")
def records() -> Callable[[Path], dict[str, dict[str, Any]]]:
    """The records of a result folder, without what may differ between equal runs."""

    def read(out: Path) -> dict[str, dict[str, Any]]:
        found, warnings = read_records(out / "records")
        assert warnings == []
        return {record.digest: comparable(record) for record in found}

    return read
