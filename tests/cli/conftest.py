"""``bench`` in this process, and one finished result folder."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.provenance import provenance
from tests.conftest import made_once

SHORT = (
    *("training.steps=2", "training.evaluate_every=1", "training.warmup_steps=0"),
    *("validation_rows=8", "test_rows=20", "input_length=32", "prompt_length=4"),
)
ONE = (
    *("run", "--task", "mrpc", "--method", "pt", "--shots", "4", "--seeds", "1"),
    *(word for item in SHORT for word in ("--set", item)),
)
"""One run, trained for two steps."""


@dataclass(frozen=True)
class Answer:
    """What a command gave."""

    code: int
    out: str
    err: str

    def error(self) -> str:
        """The only line on stderr that starts with ``error:``, the last one."""
        *others, last = self.err.splitlines()
        assert (self.code, self.out) == (2, ""), self
        assert not any(line.startswith(("error:", "Traceback")) for line in others), self
        assert last.startswith("error: ")
        return last.removeprefix("error: ")


Bench = Callable[..., Answer]


def call(words: tuple[object, ...]) -> int:
    """Run ``bench`` through its entry point; gives the exit code."""
    provenance.cache_clear()  # It holds the command line.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["bench", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
    code = end.value.code
    assert isinstance(code, int)
    return code


@pytest.fixture
def bench(models_loaded_once: None, tmp_path: Path, monkeypatch: Any, capfd: Any) -> Bench:
    """Runs ``bench`` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Answer:
        capfd.readouterr()
        code = call(words)
        return Answer(code, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def finished() -> Path:
    """The result folder of one run, ``out``; not to be changed."""

    def make(folder: Path) -> None:
        assert call((*ONE, "--out", folder, "--quiet")) == 0

    return made_once("cli", make)


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A copy of the result folder, to be changed: ``out`` in the current folder."""
    return Path(shutil.copytree(finished, tmp_path / "out"))
