"""A grid under ``kill -9``: run with ``BENCH_KILLS=200 pytest tests/endurance``; it takes hours.

Drivers and workers are killed at random times, and the driver is always started again. In the end
the records are those of an undisturbed run, no file is half-written, and no unit ended twice.
``BENCH_KILL_SECONDS`` is the longest time between two kills, ``BENCH_KILL_SEED`` chooses the times.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.runs.results import ResultFolder
from bench.runs.status import status
from bench.runs.verify import verify

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("BENCH_KILLS", "0"))
LONGEST = float(os.environ.get("BENCH_KILL_SECONDS", "30"))
SEED = int(os.environ.get("BENCH_KILL_SEED", "0"))

TASKS = ("cb", "rte", "wic", "boolq")
CELLS = 5 * len(TASKS) * 2

_ENDED = re.compile(r"\d+ s\] (?P<unit>.*?): (?:test|validation) ")


def processes(leader: int) -> list[int]:
    """The driver and its living workers."""
    children = Path(f"/proc/{leader}/task/{leader}/children")
    with contextlib.suppress(OSError):
        return [leader, *map(int, children.read_text().split())]
    return []


@pytest.mark.skipif(KILLS == 0, reason="takes hours: set BENCH_KILLS to the number of kills")
def test_a_grid_that_is_killed_again_and_again(
    tmp_path: Path, environment: dict[str, str], command: Any, records: Any
) -> None:
    def words(out: Path, workers: int) -> list[str]:
        words: list[str] = command(TASKS, "42,43", out, "--workers", str(workers))
        return words

    out, log = tmp_path / "out", tmp_path / "log"
    draw = random.Random(SEED)
    killed: Counter[str] = Counter()
    with log.open("w") as said:

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                words(out, 2), cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=said
            )

        driver = start()
        while sum(killed.values()) < KILLS and driver.poll() != 0:
            time.sleep(draw.uniform(0, LONGEST))
            alive = processes(driver.pid)
            if alive:
                victim = draw.choice(alive)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    killed["driver" if victim == driver.pid else "worker"] += 1
            if driver.poll() not in (None, 0):
                driver = start()
        while driver.wait() != 0:
            driver = start()
    print(f"killed: {dict(killed)}")

    subprocess.run(
        words(tmp_path / "undisturbed", 1), cwd=ROOT, env=environment, check=True, timeout=7200
    )
    found = records(out)
    assert len(found) == CELLS
    assert found == records(tmp_path / "undisturbed")
    assert status(ResultFolder(out)).done == CELLS
    assert verify(ResultFolder(out))[1] == []
    ends = Counter(_ENDED.findall(log.read_text()))
    assert {unit: count for unit, count in ends.items() if count > 1} == {}
    # Once more: what killed processes left is cleared away, and nothing is trained.
    before = log.stat().st_size
    again = subprocess.run(words(out, 1), cwd=ROOT, env=environment, capture_output=True)
    assert again.returncode == 0
    assert f"0 cells finished, {CELLS} found done" in again.stderr.decode()
    assert log.stat().st_size == before
