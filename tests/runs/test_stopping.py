"""Ctrl-C and SIGTERM: a checkpoint, no claim left, the way to continue, and the same end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.config import dump_config
from bench.runs.grid import lay_out
from bench.runs.results import ResultFolder

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_cleanly(
    number: signal.Signals,
    code: int,
    configure: Any,
    run: Any,
    quiet_machine: Path,
    tmp_path: Path,
    comparable: Any,
) -> None:
    config = configure(
        "training.steps=150",
        "training.evaluate_every=50",
        tasks=["cb"],
        methods=["pt"],
        seeds=[42],
    )
    out, file = tmp_path / "out", tmp_path / "config.yaml"
    file.write_text(dump_config(config))
    (cell,) = lay_out(config, ResultFolder(out), "never").plan.cells
    place = ResultFolder(out)
    checkpoint = place.checkpoint(cell.training.digest)
    words = ["run", "--config", str(file), "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.cli", *words],
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": str(quiet_machine)},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 240
    while not checkpoint.path.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == code
    last = said.splitlines()[-1]
    assert last.startswith(f"error: stopped by {number.name}; ")
    assert last.endswith(f"to continue give again: bench run --config {file} --out {out}")
    assert "Traceback" not in said
    assert list(place.claims.folder.iterdir()) == []
    assert list(place.prompts.claims.folder.iterdir()) == []
    assert not list(tmp_path.rglob("*.tmp"))
    saved = checkpoint.load()
    assert saved is not None
    assert 50 <= saved.progress.step < 150
    assert place.find(cell) is None

    (again,) = run(config, out).records.values()
    (undisturbed,) = run(config, tmp_path / "undisturbed").records.values()
    assert comparable(again) == comparable(undisturbed)
