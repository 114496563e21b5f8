"""Ctrl-C and SIGTERM: a checkpoint, no claim left, the way to continue, and the same end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.config import dump_config
from bench.runs.grid import lay_out
from bench.runs.results import ResultFolder


@pytest.fixture
def harmless() -> Iterator[None]:
    """A signal that comes too late does not end the tests."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send_when_there(path: Path, number: signal.Signals) -> threading.Thread:
    """Send this process a signal as soon as a file is there."""

    def send() -> None:
        deadline = time.monotonic() + 240
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@pytest.mark.usefixtures("harmless")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_cleanly(
    number: signal.Signals,
    code: int,
    configure: Any,
    run: Any,
    tmp_path: Path,
    comparable: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
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
    monkeypatch.setattr("sys.argv", ["bench", "run", "--config", str(file), "--out", str(out)])
    sender = send_when_there(checkpoint.path, number)
    with pytest.raises(SystemExit) as end:
        main()
    sender.join()
    assert end.value.code == code
    said = capsys.readouterr().err
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
