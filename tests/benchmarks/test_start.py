"""How long a command takes that has nothing to do: whole processes, from start to end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from bench.config import load_config
from bench.runs.cells import Cell
from bench.runs.grid import lay_out
from bench.runs.results import ResultFolder

resource = pytest.importorskip("resource", reason="child processes are timed by it")

ROOT = Path(__file__).parents[2]
ROUNDS = 5


def seconds_of(*words: str) -> tuple[float, float]:
    """What a process of Python takes by the clock, and of the processor."""
    path = {"PYTHONPATH": str(ROOT)}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, *words], env=os.environ | path, check=True, capture_output=True, cwd=ROOT
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, used


def compare(command: list[str], other: list[str]) -> dict[str, float]:
    """Least seconds of two commands in turn, and the ratio of what they ask of the processor."""
    seconds_of(*command), seconds_of(*other)  # Files are read from disk once.
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(seconds_of(*command))
        theirs.append(seconds_of(*other))
    wall, used = (min(times) for times in zip(*ours, strict=True))
    base = min(processor for _, processor in theirs)
    return {"wall": round(wall, 3), "processor": round(used, 3), "ratio": round(used / base, 2)}


def test_help(benchmark: Any, report: Any) -> None:
    """At most 0.3 s; the ratio is to a bare interpreter."""
    arguments = (["-m", "bench.cli", "--help"], ["-c", "pass"])
    report(help=benchmark.pedantic(compare, arguments, rounds=1))


def test_run_without_work(
    tmp_path: Path,
    store_records: Callable[[Path, Iterable[Cell]], None],
    benchmark: Any,
    report: Any,
) -> None:
    """The smoke grid with every cell finished, at most 3 s; the ratio is to ``import torch``."""
    folder = ResultFolder(tmp_path / "out")
    cells = lay_out(load_config("smoke"), folder, "never").plan.cells
    store_records(folder.records, cells)
    command = ["-m", "bench.cli", "run", "--out", str(folder.folder)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT)
    assert f"0 cells finished, {len(cells)} found done" in done.stderr
    times = benchmark.pedantic(compare, (command, ["-c", "import torch"]), rounds=1)
    report(cells=len(cells), run_without_work=times)
