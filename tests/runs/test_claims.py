"""Exactly one holder of a claim, and what becomes of a dead one's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.errors import OutputError
from bench.runs.claims import ClaimLostError, Claims, StepNotes
from bench.training.listeners import TrainingInfo

UNIT = "ab" * 32
ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from bench.runs.claims import Claims
claims = Claims(Path(sys.argv[1]), lease=float(sys.argv[3]))
assert claims.take(sys.argv[2], "held")
print("held", flush=True)
time.sleep(60)
"""


def holder(folder: Path, lease: float = 300.0) -> subprocess.Popen[str]:
    """Another process that holds the unit."""
    words = [sys.executable, "-c", HOLDER, str(folder), UNIT, str(lease)]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    one, other = Claims(tmp_path), Claims(tmp_path)
    assert one.take(UNIT, "unit")
    assert not other.take(UNIT, "unit")
    assert other.take("cd" * 32, "another unit")
    assert one.take(UNIT, "unit")  # By the holder again, as often as it likes.
    one.give_back(UNIT)
    assert not other.take(UNIT, "unit")
    one.give_back(UNIT)
    assert other.take(UNIT, "unit")
    other.give_back(UNIT)
    other.give_back("cd" * 32)
    assert list(tmp_path.iterdir()) == []


def test_the_claim_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    process = holder(tmp_path)
    claims = Claims(tmp_path)
    assert not claims.take(UNIT, "mine")
    held = claims.held(UNIT)
    assert held is not None
    assert held < 60
    end(process)
    assert claims.held(UNIT) is None
    assert claims.take(UNIT, "mine")
    note = claims.note(UNIT)
    assert note is not None
    assert (note.what, note.pid) == ("mine", os.getpid())
    claims.give_back(UNIT)


def test_a_living_process_keeps_its_claim_while_it_sleeps(tmp_path: Path) -> None:
    """It beats more often than its lease lasts."""
    process = holder(tmp_path, lease=1.0)
    claims = Claims(tmp_path, lease=1.0)
    try:
        end_of_wait = time.monotonic() + 2.5
        while time.monotonic() < end_of_wait:
            assert not claims.take(UNIT, "mine")
            time.sleep(0.1)
    finally:
        end(process)


def test_a_claim_without_a_sign_of_life_is_void_after_the_lease(tmp_path: Path) -> None:
    """A stopped process stands for one of another machine, which nobody here can ask for."""
    process = holder(tmp_path, lease=1.0)
    claims = Claims(tmp_path, lease=1.0)
    process.send_signal(signal.SIGSTOP)
    try:
        assert not claims.take(UNIT, "mine")  # From now on it is watched.
        deadline = time.monotonic() + 30
        while not claims.take(UNIT, "mine"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        end(process)
    claims.give_back(UNIT)


def test_a_claim_that_names_no_owner_is_void_after_the_lease(tmp_path: Path) -> None:
    """So it is left where its owner is killed between making and writing it."""
    (tmp_path / f"{UNIT}.lock").touch()
    claims = Claims(tmp_path, lease=1.0)
    assert not claims.take(UNIT, "mine")
    assert (tmp_path / f"{UNIT}.lock").read_bytes() == b""  # Somebody may be about to write it.
    deadline = time.monotonic() + 60
    while not claims.take(UNIT, "mine"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not Claims(tmp_path, lease=1.0).take(UNIT, "another")
    claims.give_back(UNIT)
    assert list(tmp_path.iterdir()) == []


def test_a_claim_without_a_name_that_shows_life_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a network disk, a name may be seen later than the signs of life."""
    lock = tmp_path / f"{UNIT}.lock"
    lock.touch()
    claims, clock = Claims(tmp_path, lease=300.0), [0.0]
    monkeypatch.setattr("bench.runs.claims.time.monotonic", lambda: clock[0])
    for now in range(0, 2000, 20):
        clock[0] = float(now)
        os.utime(lock, ns=(now, now))
        assert not claims.take(UNIT, "mine")
        assert lock.read_bytes() == b""
    for now, left in ((2000, b""), (2279, b""), (2281, b"void\n")):
        clock[0] = float(now)
        assert not claims.take(UNIT, "mine")
        assert lock.read_bytes() == left


def test_who_lost_a_claim_learns_of_it(tmp_path: Path) -> None:
    claims = Claims(tmp_path, lease=0.6)
    assert claims.take(UNIT, "unit")
    claims.check(UNIT)
    (tmp_path / f"{UNIT}.lock").unlink()
    deadline = time.monotonic() + 30
    while not claims.lost(UNIT):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(ClaimLostError, match="took it over after 1 s"):
        claims.check(UNIT)


def test_who_slept_through_a_takeover_learns_of_it_before_it_writes(tmp_path: Path) -> None:
    """Its own signs of life are due in 20 seconds; what it finds is left to the new owner."""
    sleeper, other = Claims(tmp_path), Claims(tmp_path)
    assert sleeper.take(UNIT, "unit")
    (tmp_path / f"{UNIT}.lock").unlink()
    assert other.take(UNIT, "unit, taken over")
    with pytest.raises(ClaimLostError):
        sleeper.check(UNIT)
    sleeper.give_back(UNIT)
    note = other.note(UNIT)
    assert note is not None
    assert note.what == "unit, taken over"
    other.check(UNIT)
    assert not Claims(tmp_path).take(UNIT, "a third one's")
    other.give_back(UNIT)
    assert list(tmp_path.iterdir()) == []


def test_the_step_of_a_training_is_noted(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    claims.take(UNIT, "cb pt")
    notes = StepNotes(claims)
    notes.on_start(TrainingInfo(UNIT, "cb", "pt", "pt", None, 42), 7, 60)
    note = Claims(tmp_path).note(UNIT)
    assert note is not None
    assert (note.what, note.step, note.total) == ("cb pt", 7, 60)
    claims.give_back(UNIT)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(OutputError, match="choose a folder that is writable"):
        Claims(tmp_path / "taken" / "claims").take(UNIT, "unit")
