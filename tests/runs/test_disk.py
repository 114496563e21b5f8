"""A file system that fills up, or becomes read-only, in the middle of a run: a real one."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.config import dump_config
from bench.errors import OutputError
from bench.runs.results import ResultFolder
from bench.runs.verify import verify

ROOT = Path(__file__).resolve().parents[2]


SMALL = "64k"
"""Room for one cell, but not for the source prompts that another one needs."""

REMOUNT = 32
"""Flag of mount(2)."""


def mount(folder: Path, options: str, flags: int = 0) -> None:
    system = ctypes.CDLL(None, use_errno=True)
    if system.mount(b"tmpfs", bytes(folder), b"tmpfs", flags, options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mount(folder, "size=10m")
    except (OSError, AttributeError):
        pytest.skip("needs Linux and the right to mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_fills_up(
    disk: Path, configure: Any, run: Any, finished: Any, comparable: Any
) -> None:
    config = configure(tasks=["cb"], methods=["pt", "spot"], seeds=[42])
    out = disk / "out"
    mount(disk, f"size={SMALL}", REMOUNT)
    with pytest.raises(OutputError, match=r"cannot write .*: No space left on device") as error:
        run(config, out)
    assert str(out) in str(error.value)
    place = ResultFolder(out)
    done = {path: path.read_bytes() for path in place.records.glob("*.json")}
    assert len(done) == 1  # It was in the middle of the work.
    assert verify(place)[1] == []
    assert not list(out.rglob("*.tmp"))
    assert not list(out.rglob("*.lock"))

    mount(disk, "size=10m", REMOUNT)
    again = run(config, out)
    assert len(again.outcome.finished) == 1
    for key, record in again.records.items():
        assert comparable(record) == comparable(finished.records[key])
    assert {path: path.read_bytes() for path in done} == done


@pytest.fixture
def locks() -> Iterator[tuple[Callable[[Path], None], Callable[[], None]]]:
    """Make a folder and all in it read-only, even for the superuser; and undo it."""
    superuser = os.geteuid() == 0
    if superuser and shutil.which("chattr") is None:
        pytest.skip("needs chattr, to stop the superuser")
    locked: list[Path] = []

    def lock(folder: Path) -> None:
        folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        locked.extend(folders)
        if not superuser:
            for path in folders:
                path.chmod(0o500)
        elif subprocess.run(["chattr", "+i", *folders], capture_output=True).returncode:
            pytest.skip("needs a file system with immutable folders, to stop the superuser")

    def unlock() -> None:
        if superuser and locked:
            subprocess.run(["chattr", "-i", *locked], check=True)
        for path in locked:
            path.chmod(0o700)
        locked.clear()

    yield lock, unlock
    unlock()


def test_a_folder_becomes_read_only(
    locks: Any,
    configure: Any,
    run: Any,
    comparable: Any,
    quiet_machine: Path,
    tmp_path: Path,
) -> None:
    lock, unlock = locks
    steps = ("training.steps=400", "training.evaluate_every=40")
    config = configure(*steps, tasks=["cb"], methods=["pt"], seeds=[42])
    file, out = tmp_path / "config.yaml", tmp_path / "out"
    file.write_text(dump_config(config))
    words = [sys.executable, "-m", "bench.cli", "run", "--config", str(file), "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": str(quiet_machine)}
    process = subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not list(out.glob("checkpoints/*.safetensors")):
        assert process.poll() is None
        time.sleep(0.002)
    lock(out)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 2, said
    assert "Traceback" not in said
    last = said.splitlines()[-1]
    assert last.startswith(f"error: cannot write {out}/checkpoints/")
    assert last.endswith("; choose a folder that is writable and has space")

    unlock()
    place = ResultFolder(out)
    assert len(list(place.checkpoints.glob("*.safetensors"))) == 1
    (continued,) = run(config, out).records.values()
    (undisturbed,) = run(config, tmp_path / "undisturbed").records.values()
    assert comparable(continued) == comparable(undisturbed)
    assert verify(place)[1] == []
    assert list(place.claims.folder.iterdir()) == []
