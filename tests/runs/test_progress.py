"""What a run tells while it works."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench.runs.progress import Display, LiveDisplay, PlainDisplay, make_display
from bench.training.listeners import EvaluationEvent, TrainingInfo


def evaluation(score: float) -> EvaluationEvent:
    return EvaluationEvent(
        step=1,
        total=2,
        loss=1.0,
        score=score,
        scores={"accuracy": score},
        valid_label_share=1.0,
        learning_rates={"prompt": 0.3},
        diagnostics={},
        best_step=1,
        best_score=score,
        seconds=0.0,
    )


def work(display: Display) -> None:
    with display:
        display.say("warning: [red]as it stands[/red]")
        display.on_start(TrainingInfo("0" * 64, "cb", "pt", "pt", 4, 42), 0, 2)
        display.on_step(1, 2)
        display.on_evaluation(evaluation(score=12.34))
        display.on_step(2, 2)
        display.finish("cb pt 4 shots seed 42", "test accuracy 50.0")
        display.finish("a name longer than the console is wide", "failed: no")


def console(terminal: bool, width: int = 30) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_every_unit_is_one_line() -> None:
    paper = console(terminal=False)
    display = make_display(3, paper)
    assert isinstance(display, PlainDisplay)
    work(display)
    assert text_of(paper).splitlines() == [
        "warning: [red]as it stands[/red]",
        "[1/3, 0 s] cb pt 4 shots seed 42: test accuracy 50.0",
        "[2/3, 0 s] a name longer than the console is wide: failed: no",
    ]


def test_in_a_terminal_there_are_bars_for_all_and_for_one() -> None:
    screen = console(terminal=True, width=120)
    display = make_display(3, screen)
    assert isinstance(display, LiveDisplay)
    work(display)
    text = text_of(screen)
    assert "warning: [red]as it stands[/red]" in text
    assert "cb pt 4 shots seed 42: test accuracy 50.0" in text
    assert "2/3" in text
    assert "2/2" in text
    assert "validation 12.3" in text


def test_trainings_that_run_at_once_have_a_bar_each() -> None:
    screen = console(terminal=True, width=120)
    with make_display(3, screen) as display:
        beside = display.beside()
        for listener, task in ((display, "cb"), (beside, "rte")):
            listener.on_start(TrainingInfo("0" * 64, task, "pt", "pt", 4, 42), 0, 40)
        display.on_step(11, 40)
        beside.on_step(13, 40)
        display.say("both")
    last = text_of(screen).rpartition("both")[2]
    assert "11/40" in last
    assert "13/40" in last


def test_the_bar_of_a_mate_goes_with_it() -> None:
    screen = console(terminal=True, width=120)
    with make_display(3, screen) as display:
        beside = display.beside()
        beside.on_start(TrainingInfo("0" * 64, "rte", "pt", "pt", 4, 42), 0, 40)
        beside.on_finish(None)
    last = text_of(screen).rpartition("\x1b[2K")[2]  # Drawn anew after the old lines are erased.
    assert "0/3" in last
    assert "rte" not in last


def test_the_silent_display_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    work(Display())
    assert capsys.readouterr() == ("", "")
