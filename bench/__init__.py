"""Benchmark of multi-task prompt tuning: the Python interface to runs, results and prompts.

Importing it loads neither PyTorch nor pandas.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

try:
    __version__ = metadata.version("dtvg-bench")
except metadata.PackageNotFoundError:  # A checkout that is not installed.
    __version__ = "0"


def run(
    tasks: Sequence[str] = (),
    methods: Sequence[str] = (),
    *,
    suites: Sequence[str] = (),
    shots: Sequence[int | Literal["full"]] = (),
    seeds: Sequence[int] = (),
    preset: str | None = None,
    out: str | Path = "out",
    workers: int = 1,
    settings: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Train and score a grid as ``bench run`` does; finished runs are not repeated.

    Args:
        tasks: task names; default: the tasks of the preset.
        methods: ``name`` or ``name:key=value,...``; default: the methods of the preset.
        suites: suite names; their tasks are added to ``tasks``.
        shots: training examples in total per task, or ``full``.
        seeds: one run of each method, task and number of shots per seed.
        preset: ``smoke`` (the default), ``laptop`` or ``paper``.
        out: result folder.
        workers: local processes; a script that sets it needs ``if __name__ == "__main__"``.
        settings: other keys of the configuration, such as ``{"training.steps": 100}``.

    Returns:
        Results of these runs, as from :func:`load_results`.

    Raises:
        BenchError: the grid cannot run.
    """
    import json

    from bench.config import load_config
    from bench.errors import ConfigError
    from bench.grid import make_grid
    from bench.runner import run_grid
    from bench.store import ResultStore

    axes: dict[str, Any] = {"methods": methods, "shots": shots, "seeds": seeds}
    axes |= {"tasks": tasks, "suites": suites}
    for key, value in axes.items():
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ConfigError(f"{key}: expected a list (given: {value!r})")
    listed = {key: [*value] for key, value in axes.items()}
    values: dict[str, Any] = {key: value for key, value in listed.items() if value}
    items = [f"{key}={json.dumps(value, default=str)}" for key, value in (settings or {}).items()]
    store = ResultStore(Path(out))
    grid = make_grid(load_config(preset, None, values, items), store)
    run_grid(grid, store, workers=workers)
    frame = load_results(out)
    rows: pd.DataFrame = frame[frame["id"].isin(grid.ids)]
    return rows


def load_results(folder: str | Path) -> pd.DataFrame:
    """Results of a folder, one row per run and test metric; RecordError for a missing folder.

    Columns: ``task``, ``method``, ``label``, ``shots`` (infinity: full data), ``seed``, ``metric``,
    ``score`` in percent, ``shown`` (whether tables show this metric), ``id`` and others.
    """
    from bench.reports.frame import load_results

    results = load_results(Path(folder))
    _warn(results.warnings)
    results.frame.attrs["folder"] = str(folder)  # For :func:`table`.
    return results.frame


def table(
    results: pd.DataFrame,
    layout: str | None = None,
    form: Literal["markdown", "latex", "csv", "json", "tidy-csv"] = "markdown",
) -> str:
    """Render the runs of a frame from :func:`load_results`; RecordError for other frames.

    ``layout`` is one of ``bench table --layout``; None: all tasks.
    """
    from bench.errors import RecordError
    from bench.reports.frame import load_results
    from bench.reports.tables import render_tables

    if "folder" not in results.attrs or (len(results) and "id" not in results):
        raise RecordError("the frame has no runs of a folder: use one of bench.load_results")
    stored = load_results(Path(results.attrs["folder"])).only(set(results.get("id", ())))
    text = render_tables(stored, form, layout)
    _warn(stored.bootstrap.warnings)
    return text


def _warn(messages: Sequence[str]) -> None:
    """Warn about records or predictions that are left out."""
    for message in messages:
        warnings.warn(message, stacklevel=3)


def load_prompt(folder: str | Path, prompt: str) -> Tensor:
    """Stored soft prompt ``(r, d)`` by its name or id, or a prefix; PromptError if unusable."""
    from bench.store import ResultStore

    return ResultStore(Path(folder)).load_prompt(prompt).matrix
