"""Cells that fail: recorded, told of, repeated on demand, and no harm to the others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from bench.config import dump_config
from bench.runs.cells import Training
from bench.runs.grid import execute, lay_out
from bench.runs.results import ResultFolder
from bench.runs.workshop import Workshop
from bench.training.loop import DivergedError

DIVERGING = "pt:weight_decay=1.0e+30"


@pytest.fixture
def mixed(configure: Any, run: Any, tmp_path: Path) -> Any:
    """One cell that is finished and one that failed."""
    config = configure(tasks=["cb"], methods=[DIVERGING, "pt"], seeds=[42])
    return run(config, tmp_path / "mixed")


def test_a_cell_that_diverges_is_recorded_and_stops_no_other(mixed: Any) -> None:
    assert [len(mixed.outcome.failed), len(mixed.outcome.finished)] == [1, 1]
    by_status = {record.status: record for record in mixed.records.values()}
    failed = by_status["failed"]
    assert failed.cell.method.label == "pt:weight_decay=1e+30"
    assert failed.error.type == "DivergedError"
    assert "training diverged before step 4 (loss nan)" in failed.error.message
    assert failed.rows is failed.scores is failed.training is None
    assert by_status["finished"].cell.method.label == "pt"


@pytest.mark.parametrize(
    ("overwrite", "failed", "finished"), [("never", 0, 0), ("failed", 1, 0), ("always", 1, 1)]
)
def test_policies(overwrite: Any, failed: int, finished: int, mixed: Any, run: Any) -> None:
    files = list(mixed.folder.prompts.folder.glob("*.safetensors"))
    prompts = [path.read_bytes() for path in files]
    again = run(mixed.grid.config, mixed.folder.folder, overwrite)
    assert (len(again.outcome.failed), len(again.outcome.finished)) == (failed, finished)
    assert {record.status for record in again.records.values()} == {"failed", "finished"}
    assert [path.read_bytes() for path in files] == prompts != []


def test_always_trains_again(mixed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_training(*arguments: object) -> None:
        raise AssertionError("this must not be called")

    grid = lay_out(mixed.grid.config, mixed.folder, "always")
    monkeypatch.setattr("bench.runs.workshop.Trainer", no_training)
    outcome = execute(grid)
    assert len(outcome.failed) == 2  # Nothing was left to be taken as it is.


@pytest.mark.parametrize("methods", [["dtvg", "spot"], ["pt", "dtvg"]])
def test_what_depends_on_a_failed_prompt_fails_with_its_reason(
    methods: list[str],
    configure: Any,
    run: Any,
    folder: Path,
    finished: Any,
    tmp_path: Path,
    comparable: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, tries = Workshop.train, 0

    def fail_on_target(self: Workshop, training: Training) -> Any:
        nonlocal tries
        if (training.task, training.method.name) == ("cb", "pt"):
            tries += 1
            raise DivergedError("the loss is no number")
        return train(self, training)

    for cell in finished.grid.plan.cells:  # Only what the cells start from is there.
        ResultFolder(folder).prompts.remove(cell.training.digest)
    config = configure(methods=[*methods, "attempt"], tasks=["cb", "sst2"], seeds=[42])
    with monkeypatch.context() as patch:
        patch.setattr(Workshop, "train", fail_on_target)
        done = run(config, tmp_path, prompts=folder / "prompts")
    failed = {key[:2]: r.error for key, r in done.records.items() if r.status == "failed"}
    assert set(failed) == {("cb", method) for method in methods}
    assert failed.pop(("cb", "pt"), None) is None or methods[0] == "pt"
    for error in failed.values():
        assert error.type == "RequiredPromptError"
        assert error.message == "prompt cb pt 4 shots seed 42 failed: the loss is no number"
    assert tries == 1

    mended = run(config, tmp_path, "failed", prompts=folder / "prompts")
    assert {cell.training.task for cell in mended.outcome.finished} == {"cb"}
    assert len(mended.outcome.finished) == len(methods)
    for key, record in mended.records.items():
        assert comparable(record) == comparable(finished.records[key])


def test_failures_show_in_the_exit_code(
    mixed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.cli import main

    file = tmp_path / "config.yaml"
    file.write_text(dump_config(mixed.grid.config))
    words = ["run", "--config", str(file), "--out", str(mixed.folder.folder)]
    for more, code, said in (
        (["--overwrite", "failed"], 1, "0 cells finished, 1 found done, 1 failed"),
        # They are still failed, whoever found that out.
        ([], 1, "0 cells finished, 1 found done, 1 failed"),
    ):
        monkeypatch.setattr(sys, "argv", ["bench", *words, *more])
        found = 0
        try:
            main()
        except SystemExit as end:
            found = end.code  # type: ignore[assignment]
        shown = capsys.readouterr()
        assert found == code
        assert said in shown.err
        assert "| pt " in shown.out
        assert ("cb pt:weight_decay=1e+30 4 shots seed 42: failed: " in shown.err) == bool(more)
