"""Grids under ``kill -9``: ``BENCH_KILLS=200 pytest -n 0 tests/endurance``.

Drivers and workers are killed at random times, and the driver is always started again. In the end
the table and the records are those of an undisturbed run, no file is half-written, and no unit
ended twice. A grid of 40 cells that ends before all kills are made is followed by one of other
seeds.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

TASKS = ("cb", "rte", "wic", "boolq")
CELLS = 5 * len(TASKS) * 2

_ENDED = re.compile(r"\d+ s\] (?P<unit>.*?): (?:test|validation) ")
_GAVE_UP = "workers died without a checkpoint between them"


def workers(driver: int) -> list[int]:
    """The processes that work for a driver; it has a helper of multiprocessing besides."""
    found = []
    with contextlib.suppress(OSError):
        for pid in Path(f"/proc/{driver}/task/{driver}/children").read_text().split():
            with contextlib.suppress(OSError):
                if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(int(pid))
    return found


def under_kills(kills: Any, words: list[str], environment: dict[str, str], place: Path) -> None:
    """Bring a grid to its end; ``table`` takes its last table, ``said`` what all drivers say."""

    def start() -> subprocess.Popen[bytes]:
        with (place / "table").open("wb") as table, (place / "said").open("ab") as said:
            return subprocess.Popen(words, cwd=ROOT, env=environment, stdout=table, stderr=said)

    def strike(driver: subprocess.Popen[bytes]) -> Any:
        pid = kills.draw.choice([driver.pid, *workers(driver.pid)])
        return kills.driver(driver) if pid == driver.pid else kills.worker(pid)

    kills.over(start, strike, lambda: _GAVE_UP in (place / "said").read_text()[-1000:])


def test_grids_that_are_killed_again_and_again(
    kills: Any,
    tmp_path: Path,
    environment: dict[str, str],
    command: Any,
    assert_as_undisturbed: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    grids = 0
    while kills.left:
        place, seeds = tmp_path / str(grids), f"{42 + 2 * grids},{43 + 2 * grids}"
        place.mkdir()
        words = command(TASKS, seeds, place / "out", "--workers", "2")
        under_kills(kills, words, environment, place)
        grids += 1
        with capsys.disabled():
            print(f"\n{grids} grids of {CELLS} cells, killed: {dict(kills.made)}", flush=True)

        quiet = command(TASKS, seeds, place / "undisturbed", "--workers", "2")
        assert_as_undisturbed(place / "out", (place / "table").read_text(), quiet, CELLS)
        ends = Counter(_ENDED.findall((place / "said").read_text()))
        assert len(ends) > CELLS / 2  # A few were killed before they said so.
        assert {unit: count for unit, count in ends.items() if count > 1} == {}
        # Once more: nothing is trained.
        again = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, check=True)
        said = again.stderr.decode()
        assert f"0 cells finished, {CELLS} found done" in said
        assert _ENDED.findall(said) == []
    assert sum(kills.made.values()) == kills.number
