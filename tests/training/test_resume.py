"""Training that is killed or stopped at any step, or finds a damaged checkpoint."""

import os
import re
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from bench.errors import RecordError, StopRequested
from bench.training.callbacks import GroupLog
from bench.training.checkpoint import load_checkpoint
from bench.training.stopping import Stop
from tests.training.conftest import INFO, At, Pull


class KilledError(BaseException):
    """As a kill, nothing handles it."""


def kill() -> None:
    raise KilledError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.safetensors"


def same(one: Any, two: Any, first: Pull, second: Pull) -> None:
    """Equal bits, and equal results up to times."""
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert (one.curve, one.history) == (two.curve, two.history)
    for name in ("steps", "best_step", "best_score", "stopped_early", "micro_batch_size"):
        assert getattr(one, name) == getattr(two, name)


class Traced(Pull):
    def trace(self) -> list[dict[str, Any]]:
        first = float(self.vector.detach()[0])
        return [{"source": "a", "scale": first}, {"source": "b", "scale": None}]


def logged(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / f"{INFO.name}.parquet")


def test_trace(run: Any, tmp_path: Path) -> None:
    """It holds the values that each step began with."""
    firsts, module, note = [0.0], Traced(), At(0, kill)
    note.on_step = lambda *_: firsts.append(module.vector[0].item())  # type: ignore[method-assign]
    run(module, callbacks=[GroupLog(tmp_path), note])
    whole = logged(tmp_path)
    assert whole["step"].tolist() == [n for n in range(1, 8) for _ in "ab"]
    assert whole[whole["source"] == "a"]["scale"].tolist() == firsts[:-1]
    assert whole[whole["source"] == "b"]["scale"].isna().all()
    run(Pull(), callbacks=[GroupLog(tmp_path / "none")])
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("way", ["kill", "stop"])
@pytest.mark.parametrize("step", range(1, 8))
def test_training_continues(step: int, way: str, run: Any, file: Path) -> None:
    """A kill leaves the checkpoint of the last evaluation, a stop one of the last step."""
    whole, first, second, stop = Traced(), Traced(), Traced(), Stop()
    folder = file.parent
    log, other = GroupLog(folder), GroupLog(folder / "whole")
    expected = run(whole, callbacks=[other])
    end, act, reached = StopRequested, lambda: stop.request(signal.SIGTERM), step
    if way == "kill":
        end, act, reached = KilledError, kill, (step - 1) // 3 * 3
    with pytest.raises(end):
        run(first, checkpoint=file, callbacks=[log, At(step, act)], stop=stop)
    torch.manual_seed(999)  # A new process has another global state.
    watch = At(0, kill)
    result = run(second, checkpoint=file, callbacks=[watch, log])
    assert watch.started == reached
    same(expected, result, whole, second)
    pd.testing.assert_frame_equal(logged(folder), logged(folder / "whole"))
    run(Traced(), callbacks=[log])  # Once more from the start.
    pd.testing.assert_frame_equal(logged(folder), logged(folder / "whole"))


def test_a_stop_within_an_evaluation_repeats_it(run: Any, file: Path) -> None:
    stop, whole, first, second = Stop(), Pull(), Pull(), Pull()

    def stopped() -> Any:
        stop.request(signal.SIGINT)  # Waits, as the loop defers it,
        stop.check()  # as evaluate() does before each batch.

    with pytest.raises(StopRequested):
        run(first, validate=stopped, checkpoint=file, stop=stop)
    saved = load_checkpoint(file)
    assert (saved.progress.steps, saved.progress.curve) == (3, [])
    assert saved.progress.seconds > 0
    same(run(whole, 1, 2, 3), run(second, 1, 2, 3, checkpoint=file), whole, second)


def test_finished_training_is_not_repeated(run: Any, file: Path) -> None:
    """Killed between its last evaluation and the removal of its checkpoint."""
    first, second = Pull(), Pull()
    one = run(first, 3, 1, 2, checkpoint=file)
    two = run(second, checkpoint=file, callbacks=[At(0, kill)], validate=kill)
    same(one, two, first, second)
    assert two.seconds >= one.seconds > 0
    file.unlink()
    assert load_checkpoint(file) is None


@pytest.mark.parametrize("mask", [1, 0x20, 0xFF])
def test_a_changed_byte_is_noticed(mask: int, run: Any, file: Path) -> None:
    run(Pull(), checkpoint=file)
    finished, intact, noticed = file.read_bytes(), repr(load_checkpoint(file)), 0
    for place in range(0, len(finished), 7):
        changed = bytearray(finished)
        changed[place] ^= mask
        file.write_bytes(changed)
        try:
            assert repr(load_checkpoint(file)) == intact  # Bytes without meaning, as white space.
        except RecordError:
            noticed += 1
    assert noticed > len(finished) / 7 * 0.95


@pytest.mark.parametrize("kept", [0, 1, 8, 200, -1])
def test_a_damaged_checkpoint_is_reported(kept: int, run: Any, file: Path) -> None:
    whole, again = Pull(), Pull()
    expected = run(whole, 1, 2, 3, checkpoint=file)
    file.write_bytes(file.read_bytes()[:kept])
    warnings: list[str] = []
    result = run(again, 1, 2, 3, checkpoint=file, warn=warnings.append)
    (warning,) = warnings
    assert re.match(rf"checkpoint {file} is damaged: .*; training starts again$", warning)
    same(expected, result, whole, again)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU"])
@pytest.mark.parametrize("deferred", [False, True])
def test_a_signal_stops_training(deferred: bool, name: str) -> None:
    number = getattr(signal, name)
    stop, reached = Stop(), []

    def work() -> None:
        stop.check()
        os.kill(os.getpid(), number)
        reached.append("after the signal")
        stop.check()
        reached.append("after the check")

    waits = stop.deferred() if deferred else nullcontext()
    before = signal.signal(number, signal.SIG_DFL)  # A shell's background has SIGINT ignored.
    try:
        with pytest.raises(StopRequested) as caught, stop.on_signals(), waits:
            work()
    finally:
        signal.signal(number, before)
    assert caught.value.exit_code == 128 + number
    assert reached == ["after the signal"] * deferred


def test_a_second_signal_goes_to_the_former_handler() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        stop = Stop()
        with stop.deferred(), stop.on_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard == []
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard == [signal.SIGTERM]
        with stop.on_signals():
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert len(heard) == 2
    finally:
        signal.signal(signal.SIGTERM, before)
