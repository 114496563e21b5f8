"""Listeners by name, for ``bench run --log NAME``: TensorBoard, and those of plugins."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import ConfigError, UnknownNameError, one_line
from bench.plugins import discover
from bench.training.listeners import EvaluationEvent, Listener, TrainingInfo

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from bench.training.loop import TrainingResult

BUILTIN = ("tensorboard",)


def logger_names() -> list[str]:
    """What ``--log`` takes; loads no plugin.

    Raises:
        PluginError: the name of a plugin is taken.
    """
    return [*BUILTIN, *discover("logger", BUILTIN)]


def require_loggers(names: Iterable[str]) -> None:
    """Check that there are loggers of these names; makes none.

    Raises:
        UnknownNameError: there is no such logger.
        PluginError: the name of a plugin is taken.
    """
    known = logger_names()
    for name in names:
        if name not in known:
            raise UnknownNameError("logger", name, known)


def make_loggers(names: Iterable[str], folder: Path) -> list[Listener]:
    """The listeners of those names, each once.

    Args:
        names: as :func:`require_loggers` checks them.
        folder: ``logs`` of the result folder, for them to write to.

    Raises:
        UnknownNameError: there is no such logger.
        ConfigError: a package that it needs is missing.
        PluginError: a plugin cannot be used.
    """
    chosen = tuple(dict.fromkeys(names))
    require_loggers(chosen)
    plugins = discover("logger", BUILTIN)
    made: list[Listener] = []
    for name in chosen:
        if name in plugins:
            plugin = plugins[name]
            try:
                listener = plugin.load()(folder)
            except Exception as error:
                raise plugin.fault(f"cannot be made ({one_line(error)}); mend it") from error
            if not isinstance(listener, Listener):
                raise plugin.fault(
                    "makes no bench.training.listeners.Listener; derive it from that"
                )
            made.append(listener)
        else:
            made.append(TensorBoard(folder))
    return made


class TensorBoard(Listener):
    """Event files for TensorBoard, one folder a training.

    Args:
        folder: takes a folder for each training, named as :attr:`TrainingInfo.folder_name`.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._module = importlib.import_module("torch.utils.tensorboard")
        except ImportError as error:
            raise ConfigError(
                "--log tensorboard: TensorBoard is not installed; "
                "pip install -c constraints.txt -e '.[tensorboard]'"
            ) from error
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def on_start(self, training: TrainingInfo, step: int, total: int) -> None:
        self._writer = self._module.SummaryWriter(
            str(self._folder / training.folder_name),
            # What an interrupted run wrote after its last checkpoint is hidden.
            purge_step=step + 1,
        )

    def on_evaluation(self, event: EvaluationEvent) -> None:
        writer = self._writer
        assert writer is not None  # The loop starts before it evaluates.
        values: dict[str, Any] = {
            "training/loss": event.loss,
            "validation/mean": event.score,
            **{f"validation/{name}": score for name, score in event.scores.items()},
            **{f"learning_rate/{name}": rate for name, rate in event.learning_rates.items()},
            **dict(_flat(event.diagnostics, "diagnostics")),
        }
        if event.valid_label_share is not None:
            values["validation/valid_label_share"] = event.valid_label_share
        for tag, value in values.items():
            if isinstance(value, str):
                writer.add_text(tag, value, event.step)
            else:
                writer.add_scalar(tag, value, event.step)
        writer.flush()

    def on_finish(self, result: TrainingResult | None) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None


def _flat(values: Mapping[str, Any], place: str) -> Iterator[tuple[str, float | str]]:
    """Numbers and texts of nested diagnostics by tag; lists of names become one text."""
    for name, value in values.items():
        tag = f"{place}/{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, tag)
        elif isinstance(value, list) and not all(isinstance(item, str) for item in value):
            yield from _flat({str(index): item for index, item in enumerate(value)}, tag)
        elif isinstance(value, list):
            yield tag, ", ".join(value)
        elif isinstance(value, str | int | float):
            yield tag, value


__all__ = ["BUILTIN", "TensorBoard", "logger_names", "make_loggers", "require_loggers"]
