"""Callbacks of the training loop, and those that ``--log`` names (TensorBoard, plugins).

They get no tensors, and their return values are ignored, so that they cannot change results.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError, ConfigError, UnknownNameError, counted, one_line
from bench.files import atomic_write
from bench.plugins import discover

if TYPE_CHECKING:
    from bench.training.checkpoint import TrainingResult

BUILTIN = ("tensorboard", "groups")


class CallbackError(BenchError):
    """A callback failed, so training stopped."""


@dataclass(frozen=True)
class TrainingInfo:
    """What is trained."""

    name: str  # Stem of its files: ``<task>-<method>-<shots>-<seed>-<id[:12]>``.
    task: str  # ``sources`` for a multi-task source stage.
    method: str
    label: str  # The method with its settings, as in tables.
    shots: int | None  # Training examples in total; None: all.
    seed: int

    def describe(self) -> str:
        """One short line: task, method, shots, seed."""
        shots = "full data" if self.shots is None else counted(self.shots, "shot")
        return f"{self.task} {self.label} {shots} seed {self.seed}"


@dataclass(frozen=True)
class EvaluationEvent:
    """One evaluation on validation."""

    step: int
    total: int  # Steps in all.
    loss: float  # Mean since the last evaluation.
    score: float  # Mean of the task's selection metrics; its highest value marks the best step.
    scores: Mapping[str, float]  # Percent by metric; in a source stage by source task.
    valid_label_share: float | None  # From 0 to 1; None for a task without labels.
    learning_rates: Mapping[str, float]  # Of this step, by parameter group.
    diagnostics: Mapping[str, Any]  # JSON-ready values of the method.
    best_step: int
    best_score: float
    seconds: float  # Spent so far, over all processes that trained.


class Callback:
    """Base of callbacks; does nothing. One object serves one training after the other."""

    traces: ClassVar[bool] = False  # Whether it is told the method's trace before each step.

    def on_start(self, info: TrainingInfo, step: int, total: int) -> None:
        """Training begins, or continues after ``step`` of ``total`` steps."""

    def on_trace(self, step: int, rows: list[dict[str, Any]]) -> None:
        """An optimiser step begins; ``rows`` are JSON-ready values of the method."""

    def on_step(self, step: int, total: int) -> None:
        """An optimiser step is done; without its loss, as reading it would block on the device."""

    def on_evaluation(self, event: EvaluationEvent) -> None:
        """An evaluation is done; its checkpoint follows."""

    def on_finish(self, result: TrainingResult | None) -> None:
        """Training is over; no result if it failed or was stopped."""


def tell(callbacks: Sequence[Callback], event: str, *values: object) -> None:
    """Call a method of all callbacks, in their order."""
    for callback in callbacks:
        try:
            getattr(callback, event)(*values)
        except Exception as error:
            told = f"callback {type(callback).__name__} failed in {event} ({one_line(error)})"
            raise CallbackError(f"{told}: mend it or leave it out, and run again") from error


def callback_names() -> list[str]:
    """Names of the callbacks that can be made."""
    return [*BUILTIN, *discover("logger", BUILTIN)]


def make_callbacks(names: Iterable[str], folder: Path) -> list[Callback]:
    """The callbacks of these names, each once; they write to ``folder``."""
    plugins, made = discover("logger", BUILTIN), list[Callback]()
    for name in dict.fromkeys(names):
        if name in BUILTIN:
            own = TensorBoard(folder) if name == "tensorboard" else GroupLog(folder.parent / name)
            made.append(own)
            continue
        if name not in plugins:
            raise UnknownNameError("logger", name, callback_names())
        plugin = plugins[name]
        try:
            made.append(plugin.load()(folder))
        except Exception as error:
            raise plugin.fault(f"cannot be made ({one_line(error)}); mend it") from error
        if not isinstance(made[-1], Callback):
            raise plugin.fault("is no bench.training.callbacks.Callback; derive it from that")
    return made


class TensorBoard(Callback):
    """Writes event files for TensorBoard, to a folder per training."""

    def __init__(self, folder: Path) -> None:
        try:
            self._writer_type = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        except ImportError as error:
            raise ConfigError("TensorBoard is missing: pip install -e '.[tensorboard]'") from error
        self._folder = folder

    def on_start(self, info: TrainingInfo, step: int, total: int) -> None:
        # Hides events that came after the last checkpoint of an interrupted process.
        self._writer = self._writer_type(str(self._folder / info.name), purge_step=step + 1)

    def on_evaluation(self, event: EvaluationEvent) -> None:
        means = {"mean": event.score, "valid_label_share": event.valid_label_share}
        values = {
            "training/loss": event.loss,
            "validation": {**event.scores, **means},
            "learning_rate": event.learning_rates,
            "diagnostics": event.diagnostics,
        }
        for tag, value in _flat(values):
            write = self._writer.add_text if isinstance(value, str) else self._writer.add_scalar
            write(tag, value, event.step)
        self._writer.flush()

    def on_finish(self, result: TrainingResult | None) -> None:
        self._writer.close()


class GroupLog(Callback):
    """Writes what a method traces in each step, such as DTVG's group, to a parquet file."""

    traces = True

    def __init__(self, folder: Path) -> None:
        self._folder, self._rows = folder, list[dict[Any, Any]]()

    def on_start(self, info: TrainingInfo, step: int, total: int) -> None:
        import pandas as pd

        self._path, self._rows = self._folder / f"{info.name}.parquet", []
        if step and self._path.exists():
            # Steps after the last checkpoint of an interrupted process come again.
            rows = pd.read_parquet(self._path)
            self._rows = rows[rows["step"] <= step].to_dict("records")

    def on_trace(self, step: int, rows: list[dict[str, Any]]) -> None:
        self._rows += [{"step": step, **row} for row in rows]

    def on_evaluation(self, event: EvaluationEvent | None = None) -> None:
        import pandas as pd

        if self._rows:
            atomic_write(self._path, pd.DataFrame(self._rows).to_parquet(index=False))

    def on_finish(self, result: TrainingResult | None) -> None:
        self.on_evaluation()


def _flat(value: object, tag: str = "") -> Iterator[tuple[str, float | str]]:
    """Numbers and texts of nested values by tag; items of lists by index."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(item, f"{tag}/{name}" if tag else name)
    elif isinstance(value, str | int | float):
        yield tag, value
