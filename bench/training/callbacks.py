"""Callbacks of the training loop, including the loggers of ``--log`` (trackers, plugins).

Callbacks receive no tensors, and return values are ignored, so that results cannot change.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError, ConfigError, UnknownNameError, one_line
from bench.files import atomic_write, read_trace
from bench.plugins import discover

if TYPE_CHECKING:
    from bench.training.checkpoint import TrainingResult

TRACKERS: Mapping[str, Mapping[str, str]] = {
    "tensorboard": {},
    "wandb": {"WANDB_DIR": "{}", "WANDB_SILENT": "true", "WANDB_CONSOLE": "off"},
    "mlflow": {"MLFLOW_TRACKING_URI": "sqlite:///{}/mlflow.db"},
    "trackio": {"TRACKIO_DIR": "{}/trackio"},
}
"""Trackers of accelerate with default environment variables; ``{}`` stands for OUT/logs."""

BUILTIN = (*TRACKERS, "groups")


class CallbackError(BenchError):
    """A callback failed, so training stopped."""


@dataclass(frozen=True)
class TrainingInfo:
    """Description of a training, passed to callbacks."""

    name: str  # Stem of file names: ``<task>-<method>-<shots>-<seed>-<id[:12]>``.
    summary: str  # Task, method, shots and seed.
    run: Mapping[str, Any] = field(default_factory=dict)  # ``run`` of the record.


@dataclass(frozen=True)
class EvaluationEvent:
    """One evaluation on validation."""

    step: int
    total: int  # Total number of steps.
    loss: float  # Mean since the last evaluation.
    score: float  # Mean of the task's selection metrics; the highest score marks the best step.
    scores: Mapping[str, float]  # Percent by metric; in a source stage by source task.
    valid_label_share: float | None  # From 0 to 1; None for free text and in source stages.
    learning_rates: Mapping[str, float]  # At this step, by parameter group.
    diagnostics: Mapping[str, Any]  # JSON-ready values of the method.
    best_step: int
    best_score: float
    seconds: float  # Training time so far, over all processes.


class Callback:
    """Base class of callbacks; all methods do nothing. One object serves successive trainings."""

    traces: ClassVar[bool] = False  # Whether ``on_trace`` is called before each step.

    def on_start(self, info: TrainingInfo, step: int, total: int) -> None:
        """Training begins, or continues after ``step`` of ``total`` steps."""

    def on_trace(self, step: int, rows: list[dict[str, Any]]) -> None:
        """An optimiser step begins; ``rows`` are JSON-ready values of the method."""

    def on_step(self, step: int, total: int) -> None:
        """An optimiser step is done; no loss is passed, as reading it would wait for the device."""

    def on_evaluation(self, event: EvaluationEvent) -> None:
        """An evaluation is done; its checkpoint follows."""

    def on_finish(self, result: TrainingResult | None) -> None:
        """Training is over; no result if it failed or was stopped."""

    def on_scores(self, info: TrainingInfo, step: int, scores: Mapping[str, float]) -> None:
        """A run is scored on test, in percent by metric, after ``step`` training steps."""


def tell(callbacks: Sequence[Callback], event: str, *values: object) -> None:
    """Call a method of all callbacks, in their order."""
    for callback in callbacks:
        try:
            getattr(callback, event)(*values)
        except Exception as error:
            message = f"callback {type(callback).__name__} failed in {event} ({one_line(error)})"
            raise CallbackError(f"{message}: fix it or leave it out, and run again") from error


def callback_names() -> list[str]:
    """Names of all available loggers."""
    return [*BUILTIN, *discover("logger", BUILTIN)]


def make_callbacks(names: Iterable[str], folder: Path) -> list[Callback]:
    """Create the callbacks of these names, each once; they write to ``folder``."""
    plugins, callbacks = discover("logger", BUILTIN), list[Callback]()
    for name in dict.fromkeys(names):
        if name in TRACKERS:
            callbacks.append(Tracker(name, folder))
        elif name in BUILTIN:
            callbacks.append(GroupLog(folder.parent / name))
        elif plugin := plugins.get(name):
            try:
                callbacks.append(plugin.load()(folder))
            except Exception as error:
                raise plugin.fault(f"cannot be made ({one_line(error)}); fix it") from error
            if not isinstance(callbacks[-1], Callback):
                raise plugin.fault("is not a subclass of Callback; derive it from that")
        else:
            raise UnknownNameError("logger", name, callback_names())
    return callbacks


class Tracker(Callback):
    """Logs configuration, losses, validation and test scores to a tracker of accelerate."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._folder = name, folder.absolute()
        self._open_run = ""  # Name of the run that was not finished yet.
        for key, value in TRACKERS[name].items():  # Set before the package reads them.
            os.environ.setdefault(key, value.format(self._folder))
        try:
            from accelerate import PartialState, tracking

            self._package = importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(f"{name} is missing: pip install -e '.[{name}]'") from error
        PartialState(cpu=True)  # Required by trackers.
        logging.getLogger(tracking.__name__).setLevel(logging.ERROR)  # MLflow warns of texts.
        self._type = tracking.LOGGER_TYPE_TO_CLASS[name]
        # Also in worker processes, where handlers of atexit do not run.
        Finalize(None, self._close, exitpriority=0)

    def on_start(self, info: TrainingInfo, step: int, total: int) -> None:
        from filelock import FileLock

        self._close()
        project = os.environ.get(f"{self._name.upper()}_PROJECT", "dtvg-bench")
        arguments: dict[str, tuple[str, dict[str, Any]]] = {
            # purge_step hides events after the last checkpoint of an interrupted process.
            "tensorboard": (info.name, {"logging_dir": self._folder, "purge_step": step + 1}),
            "wandb": (project, {"name": info.name, "id": info.name, "resume": "allow"}),
            "mlflow": (project, {"run_name": info.name}),
            "trackio": (project, {"name": info.name, "resume": "allow"}),
        }
        name, options = arguments[self._name]
        self._folder.mkdir(parents=True, exist_ok=True)
        # One process at a time, as MLflow creates its database on first use.
        with redirect_stdout(io.StringIO()), FileLock(self._folder / "start.lock"):
            self._tracker = self._type(name, **options)
            self._tracker.start()
            self._open_run = info.name
            self._tracker.store_init_configuration(_flat(info.run))

    def on_evaluation(self, event: EvaluationEvent) -> None:
        means = {"mean": event.score, "valid_label_share": event.valid_label_share}
        values = {
            "training/loss": event.loss,
            "validation": {**event.scores, **means},
            "learning_rate": event.learning_rates,
            "diagnostics": event.diagnostics,
        }
        self._tracker.log(_flat(values), step=event.step)

    def on_finish(self, result: TrainingResult | None) -> None:
        if result is None:
            self._close()

    def on_scores(self, info: TrainingInfo, step: int, scores: Mapping[str, float]) -> None:
        if self._open_run != info.name:
            self.on_start(info, step, step)
        self._tracker.log(_flat({"test": scores}), step=step)
        self._close()

    def _close(self) -> None:
        """Finish the open run; a run without test scores stays open until the next one starts."""
        if self._open_run:
            self._open_run = ""
            with redirect_stdout(io.StringIO()):  # trackio.finish() is quiet at exit.
                (self._package if self._name == "trackio" else self._tracker).finish()


class GroupLog(Callback):
    """Writes the trace of each step, such as DTVG's group, to a parquet file."""

    traces = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: list[dict[Any, Any]] = []

    def on_start(self, info: TrainingInfo, step: int, total: int) -> None:
        self._path, self._rows = self._folder / f"{info.name}.parquet", []
        if step and self._path.exists():
            # Steps after the last checkpoint of an interrupted process are repeated.
            rows = read_trace(self._path)
            self._rows = rows[rows["step"] <= step].to_dict("records")

    def on_trace(self, step: int, rows: list[dict[str, Any]]) -> None:
        self._rows += [{"step": step, **row} for row in rows]

    def on_evaluation(self, event: EvaluationEvent | None = None) -> None:
        import pandas as pd

        if self._rows:
            atomic_write(self._path, pd.DataFrame(self._rows).to_parquet(index=False))

    def on_finish(self, result: TrainingResult | None) -> None:
        self.on_evaluation()


def _flat(value: object, tag: str = "") -> dict[str, float | str]:
    """Flatten nested values to numbers and texts by tag; list items are tagged by index."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        return {tag: value} if isinstance(value, str | int | float) else {}
    values: dict[str, float | str] = {}
    for name, item in value.items():
        values |= _flat(item, f"{tag}/{name}" if tag else str(name))
    return values
