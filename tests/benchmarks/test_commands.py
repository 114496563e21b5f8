"""How long commands take that have nothing to do: whole processes, from start to end."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from tests.cli.conftest import SHORT

ROOT = Path(__file__).parents[2]
GRID = (
    *("run", "--method", "pt", "--method", "no_prompt", "--shots", "4", "--seeds", "1,2,3"),
    *("--task", "mrpc", "--task", "boolq"),
    *(word for item in SHORT for word in ("--set", item)),
)


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    """A process of ``bench``."""
    command = [sys.executable, "-m", "bench.cli", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_help(seconds: Any) -> None:
    assert bench("--help").returncode == 0
    seconds(partial(bench, "--help"), rounds=7, most=0.3)


def test_unknown_task(seconds: Any) -> None:
    command = partial(bench, "run", "--task", "mprc")
    done = command()
    assert done.returncode == 2
    assert "mrpc" in done.stderr
    seconds(command, rounds=5, most=1)


def test_finished_grid(tmp_path: Path, seconds: Any) -> None:
    """Two tasks, PT with three seeds and the frozen model alone."""
    command = partial(bench, *GRID, "--out", str(tmp_path))
    first, second = command(), command()
    assert first.returncode == 0, first.stderr
    assert "0 runs finished, 8 found finished" in second.stderr
    assert second.stdout == first.stdout
    seconds(command, rounds=5, most=3)
