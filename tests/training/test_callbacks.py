"""Events of the loop, trackers, plugins, and the progress display."""

import importlib.util
import io
import itertools
import multiprocessing
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock, call

import pytest
from accelerate import tracking
from rich.console import Console
from torch import Tensor

from bench.errors import ConfigError, PluginError, RunError, UnknownNameError
from bench.method import Batch
from bench.plugins import use_files
from bench.progress import Display, Verbosity
from bench.training.callbacks import (
    TRACKERS,
    Callback,
    CallbackError,
    EvaluationEvent,
    Tracker,
    TrainingInfo,
    callback_names,
    make_callbacks,
)
from tests.training.conftest import INFO, Pull


class Counts(Pull):
    """Its loss in step n is n."""

    calls = 0

    def loss(self, model: Any, batch: Batch) -> Tensor:
        self.calls += 1
        return self.calls + 0 * self.vector.sum()

    def diagnostics(self) -> dict[str, Any]:
        return {"group": ["mnli", "qqp"], "scales": {"target": 0.5}, "parts": [1.0, 2.0]}


class Fails(Callback):
    def __init__(self, event: str) -> None:
        setattr(self, event, Mock(side_effect=ValueError("disk\nfull")))


@pytest.fixture
def keeps() -> Mock:
    """A callback that keeps the events."""
    return Mock(spec=Callback, traces=False)


OPTIONS: dict[str, Any] = {"steps": 4, "warmup_steps": 0, "evaluate_every": 2}


def test_events_in_order(run: Any, keeps: Mock) -> None:
    other = Mock(spec=Callback, traces=False)
    result = run(Counts(), 10.0, 30.0, callbacks=[keeps, other], **OPTIONS)
    steps = [call.on_step(step, 4) for step in range(1, 5)]
    evaluations = [call.on_evaluation(*each.args) for each in keeps.on_evaluation.mock_calls]
    expected = [call.on_start(INFO, 0, 4), *steps[:2], evaluations[0], *steps[2:], evaluations[1]]
    assert keeps.mock_calls == other.mock_calls == [*expected, call.on_finish(result)]
    event = keeps.on_evaluation.call_args.args[0]
    assert (event.step, event.total, event.loss) == (4, 4, 3.5)  # Mean of the losses 3 and 4.
    assert (event.score, event.best_score, event.best_step) == (30.0, 30.0, 4)
    assert (event.scores, event.valid_label_share) == ({"accuracy": 30.0}, 0.5)
    assert event.learning_rates == {"vector": 0.1 / 4, "scale": 0.02 / 4}  # One of four steps left.
    assert 0 < event.seconds <= result.seconds
    assert result.examples_per_second == pytest.approx(8 / result.seconds)


@pytest.mark.parametrize("event", ["on_start", "on_step", "on_evaluation", "on_finish"])
def test_a_failing_callback_is_named(event: str, run: Any, keeps: Mock) -> None:
    with pytest.raises(CallbackError) as caught:
        run(Pull(), 1, 2, callbacks=[keeps, Fails(event)], **OPTIONS)
    start = f"callback Fails failed in {event} (ValueError: disk full): "
    assert str(caught.value).startswith(start)
    assert isinstance(caught.value.__cause__, ValueError)
    last = keeps.mock_calls[-1]
    assert (last == call.on_finish(None)) == (event != "on_finish")
    assert last == call.on_finish(*last.args)


def test_a_callback_does_not_hide_the_error_of_training(run: Any, keeps: Mock) -> None:
    module = Pull()
    module.vector.data[0] = float("nan")
    with pytest.raises(RunError):
        run(module, 1, 2, callbacks=[Fails("on_finish"), keeps])
    assert keeps.mock_calls[-1] == call.on_finish(None)


def test_tensorboard_files(run: Any, tmp_path: Path) -> None:
    """What an interrupted process wrote after its last checkpoint is hidden."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for last in (50.0, 30.0):  # Two trainings without a checkpoint.
        run(Counts(), 10.0, last, callbacks=[Tracker("tensorboard", tmp_path)], **OPTIONS)
    folder = tmp_path / INFO.name
    reader = events.EventAccumulator(str(folder))
    reader.Reload()
    found = {
        tag: [(event.step, pytest.approx(event.value)) for event in reader.Scalars(tag)]
        for tag in reader.Tags()["scalars"]
    }
    assert found == {
        "training/loss": [(2, 1.5), (4, 3.5)],
        "validation/mean": [(2, 10.0), (4, 30.0)],
        "validation/accuracy": [(2, 10.0), (4, 30.0)],
        "validation/valid_label_share": [(2, 0.5), (4, 0.5)],
        "learning_rate/vector": [(2, 0.075), (4, 0.025)],
        "learning_rate/scale": [(2, 0.015), (4, 0.005)],
        "diagnostics/scales/target": [(2, 0.5), (4, 0.5)],
        "diagnostics/parts/0": [(2, 1.0), (4, 1.0)],
        "diagnostics/parts/1": [(2, 2.0), (4, 2.0)],
    }
    assert "diagnostics/group/0/text_summary" in reader.Tags()["tensors"]


@pytest.mark.parametrize("name", TRACKERS)
def test_trackers_offline(name: str, run: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Configuration, validation and test scores are in the files of each tracker."""
    if importlib.util.find_spec(name) is None:  # Not imported: variables are read at import.
        pytest.skip(f"needs {name}")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for key in TRACKERS[name]:
        monkeypatch.setenv(key, "")  # Restored after the test.
        monkeypatch.delenv(key)
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    info = replace(INFO, run={"settings": {"rate": 0.25}, "needs": ["a"], "shots": None})
    tracker = Tracker(name, tmp_path / "logs")
    tracker.on_start(info, 0, 4)
    rates = {"prompt": 0.3}
    event = EvaluationEvent(2, 4, 1.0, 12.5, {"f1": 12.5}, 1.0, rates, {"group": ["b"]}, 2, 12.5, 0)
    tracker.on_evaluation(event)
    tracker.on_finish(Mock())
    tracker.on_scores(info, 4, {"f1": 62.5})
    tracker.on_scores(replace(info, name="scored-later"), 4, {"f1": 87.5})
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for text in ("settings/rate", "training/loss", "validation/mean", "test/f1"):
        assert any(text.encode() in content for content in files), text
    assert any(b"scored-later" in content for content in files) or name == "tensorboard"
    assert out.getvalue() == ""


class Ends:
    """In place of accelerate's tracker: leaves a file when it is finished."""

    def __init__(self, name: str, logging_dir: Path, purge_step: int) -> None:
        self.folder = logging_dir

    def __getattr__(self, name: str) -> Any:
        return Mock()

    def finish(self) -> None:
        (self.folder / "finished").touch()


def begin_training(folder: Path) -> None:
    sys.modules["tensorboard"] = Mock()
    tracking.LOGGER_TYPE_TO_CLASS["tensorboard"] = Ends
    Tracker("tensorboard", folder).on_start(INFO, 0, 4)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot fork safely")
def test_a_worker_process_finishes_its_tracker_at_its_end(tmp_path: Path) -> None:
    # Ends as a worker process does, and starts faster.
    process = multiprocessing.get_context("fork").Process(target=begin_training, args=(tmp_path,))
    process.start()
    process.join()
    assert (tmp_path / "finished").exists()


def test_a_missing_tracker_names_its_extra(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "environ", {})
    for name in TRACKERS:
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(
            ConfigError, match=rf"^{name} is missing: pip install -e '.\[{name}\]'$"
        ):
            make_callbacks([name], tmp_path)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("broken", PluginError, "cannot be made .ZeroDivisionError"),
        ("no-callback", PluginError, "derive it"),
        ("tensorbord", UnknownNameError, "unknown logger 'tensorbord': did you mean tensorboard"),
    ],
)
def test_callbacks_of_plugins(name: str, error: Any, message: str, tmp_path: Path) -> None:
    file = tmp_path / "plugin.py"
    file.write_text(
        "from bench.training.callbacks import GroupLog\n"
        "LOGGERS = {'own': GroupLog, 'broken': lambda folder: 1 / 0, 'no-callback': str}\n"
    )
    use_files([file])
    assert {"tensorboard", "own", "broken", "no-callback"} <= set(callback_names())
    assert len(make_callbacks(["own", "tensorboard", "own"], tmp_path)) == 2
    with pytest.raises(error, match=message):
        make_callbacks(["own", name], tmp_path)


WARNING = "warning: [red]as it is[/red]"
LINES = [
    "[1/3, 0 s] cb pt 4 shots seed 42: test accuracy 50.0",
    "[2/3, 0 s] cb spot 4 shots seed 42: done by another command",
    "[3/3, 0 s] a name longer than the console is wide: no memory",
]
WAIT = "waiting for 2 runs of other commands on this folder"
STEP = "cb pt 4 shots seed 42: step 1/2, loss 1.0000, validation 12.3 (best 12.3 at 1)"
SHOWN: dict[Verbosity, list[str]] = {
    "quiet": ["error: a name longer than the console is wide: no memory"],
    "normal": [WARNING, *LINES[:1], WAIT, *LINES[1:]],
    "verbose": [WARNING, STEP, *LINES[:1], WAIT, *LINES[1:]],
}
BARS = ("all runs", "0/3", "3/3", "1/2", "worker 2", "starting", "training", "training (12.3)")
BARS += ("scoring test", "128/872", "cb pt 4 shots seed 42", " left")


@pytest.mark.parametrize("verbosity", SHOWN)
@pytest.mark.parametrize("terminal", [False, True])
def test_display(verbosity: Verbosity, terminal: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr("bench.progress.INTERVAL", 0)
    monkeypatch.setattr("bench.progress.time.monotonic", itertools.count(0, 1e-4).__next__)
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=120 if terminal else 30)
    event = EvaluationEvent(1, 2, 1.0, 12.34, {"f1": 12.34}, 1.0, {"prompt": 0.3}, {}, 1, 12.34, 0)
    with Display(3, verbosity, console) as display:
        report = display.reporter()
        report.say(WARNING)
        display.receive(1, ("", "starting", 0, 0))
        report.on_start(TrainingInfo("stem", "cb pt 4 shots seed 42"), 0, 2)
        display.bars.refresh()
        report.on_step(1, 2)
        display.bars.refresh()
        report.on_evaluation(event)
        report.on_step(2, 2)
        display.bars.refresh()
        display.receive(0, ("cb pt 4 shots seed 42", "scoring test", 128, 872))
        display.bars.refresh()
        display.finish("cb pt 4 shots seed 42", "test accuracy 50.0")
        for locked in (0, 2, 2, 1, 0):
            display.wait(locked)
        display.finish("cb spot 4 shots seed 42", "done by another command")
        display.finish("a name longer than the console is wide", "no memory", failed=True)
    text = file.getvalue()
    if terminal and verbosity != "quiet":  # Bars for all runs and for one.
        for part in (*SHOWN[verbosity], *BARS):
            assert part in text
    else:
        assert text.splitlines() == SHOWN[verbosity]
