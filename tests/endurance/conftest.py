"""A grid of short trainings on the bundled model, what kills it, and what must hold in the end.

``BENCH_KILLS`` says how many kills there are in all, ``BENCH_KILL_SECONDS`` the longest time
between two of them, ``BENCH_KILL_SEED`` chooses times and victims.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.records import Record, read_records
from bench.runs.results import ResultFolder
from bench.runs.status import status
from bench.runs.verify import verify

ROOT = Path(__file__).resolve().parents[2]

SHORT = ("steps=40", "evaluate_every=5", "warmup_steps=2", "batch_size=4")
SETTINGS = [
    f"{stage}.{item}"
    for stage in ("training", "source_training")
    for item in (*SHORT, "epochs=null")
] + ["validation_rows=16", "prompt_length=8"]

PATIENCE = 1800.0
"""Seconds for what is left of a grid when there are no kills any more."""


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


@pytest.fixture
def assert_as_undisturbed(
    records: Callable[[Path], dict[str, Any]], environment: dict[str, str]
) -> Callable[[Path, str, Sequence[str], int], None]:
    """Table and records are those of an undisturbed run, and all is whole."""

    def check(out: Path, table: str, words: Sequence[str], cells: int) -> None:
        """``words`` are those of the undisturbed run; its folder is the word behind ``--out``."""
        undisturbed = subprocess.run(
            words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        assert table == undisturbed.stdout
        found = records(out)
        assert len(found) == cells
        assert found == records(Path(words[words.index("--out") + 1]))
        place = ResultFolder(out)
        assert status(place).done == cells
        assert verify(place)[1] == []
        # Nothing is half-written, and nothing is left of those that were killed.
        for folder in (place.checkpoints, place.claims.folder, place.prompts.claims.folder):
            assert list(folder.glob("[!.]*")) == []

    return check


class Kills:
    """Kills the processes of grids at random times, and counts those that really died of it.

    Args:
        number: of kills.
        longest: seconds between two of them.
        seed: of times and victims.
    """

    def __init__(self, number: int, longest: float, seed: int) -> None:
        self.number = number
        self.made: Counter[str] = Counter()
        self.draw = random.Random(seed)
        self._longest = longest

    @property
    def left(self) -> int:
        return self.number - sum(self.made.values())

    def over(
        self,
        start: Callable[[], subprocess.Popen[bytes]],
        strike: Callable[[subprocess.Popen[bytes]], str | None],
        gave_up: Callable[[], bool],
    ) -> None:
        """Bring a grid to its end, and kill as long as kills are left; start it again each time.

        Args:
            start: a driver.
            strike: kills something of the running grid, and says what; None: there was nothing.
            gave_up: whether a driver that ended by itself did so for the kills alone.
        """
        driver = start()
        try:
            while driver.poll() != 0:
                code = driver.poll()
                if code is not None:
                    assert code == -signal.SIGKILL or gave_up(), f"a driver ended with code {code}"
                    driver = start()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    driver.wait(self.draw.uniform(0, self._longest) if self.left else PATIENCE)
                    continue
                assert self.left, f"not at its end {PATIENCE:.0f} s after the last kill"
                kind = strike(driver)
                if kind is not None:
                    self.made[kind] += 1
        finally:
            driver.kill()
            driver.wait()

    def driver(self, driver: subprocess.Popen[bytes]) -> str | None:
        """Kill a driver, unless it ends before."""
        driver.kill()
        return "driver" if driver.wait() == -signal.SIGKILL else None

    def worker(self, pid: int) -> str | None:
        """Kill another process, unless it is gone already."""
        if not alive(pid):
            return None
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            while alive(pid):
                time.sleep(0.01)
            return "worker"
        return None


def alive(pid: int) -> bool:
    """Whether a process is there, and not only waits for its parent to take note of its end."""
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX"
    return False


@pytest.fixture
def kills() -> Kills:
    number = int(os.environ.get("BENCH_KILLS", "0"))
    if number == 0:
        pytest.skip("takes long: set BENCH_KILLS to the number of kills")
    longest = float(os.environ.get("BENCH_KILL_SECONDS", "10"))
    return Kills(number, longest, int(os.environ.get("BENCH_KILL_SEED", "0")))
