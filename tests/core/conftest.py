"""A grid that was done once, and the command line in this process."""

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.config import RunConfig, dump_config
from bench.store import ResultStore
from tests.cli.conftest import call
from tests.conftest import made_once
from tests.core.small_grids import configure, do


@pytest.fixture(scope="session")
def finished(models_loaded_once: None) -> ResultStore:
    """All five methods on cb, done once; look, but do not change it."""
    return ResultStore(made_once("core", lambda folder: do(configure(), ResultStore(folder))))


@pytest.fixture
def copy(finished: ResultStore, tmp_path: Path) -> ResultStore:
    """A copy of it, to be changed."""
    return ResultStore(shutil.copytree(finished.folder, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def interruptible(models_loaded_once: None) -> Iterator[None]:
    """Ctrl-C counts, also where the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def bench(capfd: Any, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Runs ``bench run`` in this process; gives its exit code and what it printed to stderr."""

    def run(config: RunConfig, out: Path, *words: str) -> tuple[int, str]:
        file = tmp_path / "config.yaml"
        file.write_text(dump_config(config))
        capfd.readouterr()
        code = call(("run", "--config", file, "--out", out, *words))
        return code, capfd.readouterr().err

    return run
