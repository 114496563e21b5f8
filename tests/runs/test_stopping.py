"""Ctrl-C and SIGTERM: a checkpoint, no claim left, the way to continue, and the same end."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from bench.config import dump_config
from bench.runs.grid import lay_out
from bench.runs.results import ResultFolder


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_cleanly(
    number: signal.Signals,
    code: int,
    configure: Any,
    run: Any,
    tmp_path: Path,
    comparable: Any,
    bench_until: Any,
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
    ended, said = bench_until(checkpoint.path.exists, number, words)
    assert ended == code
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
