"""Completion scripts, and the names a shell is offered."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.registry import METHODS
from bench.tasks import SUITES, list_tasks

Bench = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_of_each_shell(shell: str, bench: Bench) -> None:
    answer = bench("completion", shell)
    assert answer.code == 0
    assert f"_BENCH_COMPLETE={shell}_complete" in answer.out
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=answer.out, text=True, check=True)


def test_unknown_shell(bench: Bench) -> None:
    answer = bench("completion", "cmd")
    assert answer.code == 2
    assert "'cmd' is not one of 'bash', 'zsh', 'fish'" in answer.err


def offered(*words: str) -> tuple[list[str], list[str]]:
    """What bash is offered for the last word, and the heavy packages that this imported."""
    code = (
        "import sys; from bench.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*[name for name in ('torch', 'transformers', 'datasets', 'pandas', 'pydantic')"
        " if name in sys.modules], file=sys.stderr)"
    )
    environment = {
        **os.environ,
        "_BENCH_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["bench", *words]),
        "COMP_CWORD": str(len(words)),
    }
    # click takes the program's name from here.
    script = f"import sys; sys.argv = ['bench']\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()], done.stderr.split()


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("run", "--task", "m"), [t.name for t in list_tasks() if t.name.startswith("m")]),
        (("run", "--suite", ""), list(SUITES)),
        (("run", "--method", ""), list(METHODS)),
        (("run", "--log", "t"), ["tensorboard"]),
        (("list", ""), ["tasks", "suites", "methods", "models"]),
        (("fre",), ["freeze"]),
        (("run", "--verb"), ["--verbose"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_names_are_offered_without_heavy_imports(words: tuple[str, ...], names: list[str]) -> None:
    assert offered(*words) == (names, [])
