"""Quiet, verbose, and colours."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from bench.runs.progress import EvaluationLines, make_display
from bench.training.listeners import EvaluationEvent, TrainingInfo

Bench = Callable[..., Any]
ONE = ("--task", "mrpc", "--method", "pt")
INFO = TrainingInfo("d" * 64, "mrpc", "pt", "pt", 16, 42)


def event(step: int) -> EvaluationEvent:
    return EvaluationEvent(
        step=step,
        total=30,
        loss=1.25,
        score=50.0,
        scores={"accuracy": 50.0},
        valid_label_share=1.0,
        learning_rates={"prompt": 0.3},
        diagnostics={},
        best_step=10,
        best_score=60.0,
        seconds=1.0,
    )


def shown(verbosity: Any, terminal: bool = False, **options: Any) -> str:
    """What a display writes of one training that succeeds and one that fails."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=200, **options)
    with make_display(2, console, verbosity) as display:
        lines = EvaluationLines(display)
        display.say("preparing data of 1 tasks")
        for listener in (display, lines):
            listener.on_start(INFO, 0, 30)
            listener.on_step(1, 30)
            listener.on_evaluation(event(20))
        display.finish("mrpc pt", "test accuracy 50.0")
        display.finish("rte pt", "failed: diverged", failed=True)
    return file.getvalue()


def test_quiet_shows_failures_alone() -> None:
    assert shown("quiet") == "error: rte pt: failed: diverged\n"


def test_an_evaluation_is_one_line() -> None:
    line = "mrpc pt 16 shots seed 42: step 20/30, loss 1.2500, validation 50.0 (best 60.0 at 10)"
    assert line in shown("verbose").splitlines()


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    colour = "\x1b[3"  # Begins the codes of foreground colours.
    assert colour in shown("normal", terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert colour not in shown("normal", terminal=True)
    monkeypatch.delenv("NO_COLOR")
    assert "\x1b" not in shown("normal", terminal=False)


def test_run_quiet_and_verbose(bench: Bench, cell: tuple[object, ...]) -> None:
    quiet = bench(*cell, *ONE, "--quiet", "--out", "quiet")
    assert quiet.code == 0
    assert quiet.err == ""
    verbose = bench(*cell, *ONE, "--verbose", "--out", "verbose")
    assert verbose.out == quiet.out
    evaluations = [line for line in verbose.err.splitlines() if ": step " in line]
    assert [line.partition(": step ")[2][:3] for line in evaluations] == ["1/2", "2/2"]
    normal = bench(*cell, *ONE, "--out", "normal")
    assert ": step " not in normal.err
    assert "1 cells finished" in normal.err
    assert "\x1b" not in quiet.out + verbose.err + normal.err


def test_quiet_and_verbose_exclude_each_other(bench: Bench) -> None:
    answer = bench("run", "--quiet", "--verbose")
    assert answer.code == 2
    assert answer.err == ("error: --quiet and --verbose exclude each other: give one of them\n")
